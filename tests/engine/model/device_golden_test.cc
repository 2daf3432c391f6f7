// The recorded values of tiny-tales (tests/data/tiny-tales/README.md) on the chosen device, prompt by prompt: a real
// GPU runs all of them, the emulated one the shortest.
#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "tests/engine/model/goldens.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/support/model_session.h"

namespace latentd {
namespace {

struct Recorded {
  std::string release, directory, goldens, prompt;
};
std::ostream& operator<<(std::ostream& out, const Recorded& recorded) {
  return out << recorded.release << " " << recorded.prompt;
}

std::vector<Recorded> AllRecorded() {
  std::vector<Recorded> all;
  for (const auto& [release, directory] :
       {std::pair("fp8", "models/tiny-tales"), std::pair("bf16", "tests/data/tiny-tales-bf16")}) {
    const std::string file = std::string("tests/data/tiny-tales/goldens-") + release + ".safetensors";
    const Goldens goldens(file);
    for (const std::string& prompt : goldens.prompts()) all.push_back({release, directory, file, prompt});
  }
  return all;
}

class TinyTalesOnDevice : public testing::TestWithParam<Recorded> {
 protected:
  Goldens goldens_{GetParam().goldens};
  ModelSession session_{GetParam().directory, {.make_backend = MakeUnreservedTestBackend}};
};

TEST_P(TinyTalesOnDevice, LogitsAreWithinTheBoundAtEveryRecordedPosition) {
  const std::string& prompt = GetParam().prompt;
  const std::vector<int32_t> positions = goldens_.Ints("positions." + prompt);
  const std::vector<float> expected = goldens_.Floats("logits." + prompt);
  const LogitRows logits = session_.Run(goldens_.Ints("ids." + prompt), positions);
  ASSERT_EQ(logits.size(), positions.size());
  const size_t vocab = static_cast<size_t>(session_.config().vocab_size);
  double largest = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(logits[i / vocab][i % vocab]) - expected[i]));
  }
  RecordProperty("largest_difference", std::to_string(largest));
  EXPECT_LE(largest, TestTraits().logit_error);
}

TEST_P(TinyTalesOnDevice, GreedyContinuationIsThatRecordedWhereItIsClear) {
  const std::string& prompt = GetParam().prompt;
  std::vector<int32_t> expected = goldens_.Ints("greedy." + prompt);
  const std::vector<float> margins = goldens_.Floats("margins." + prompt);
  const auto unclear =
      std::find_if(margins.begin(), margins.end(), [](float m) { return m < TestTraits().logit_error; });
  expected.resize(static_cast<size_t>(unclear - margins.begin()));
  const int32_t eos = session_.config().eos_ids.front();
  EXPECT_EQ(session_.Greedy(goldens_.Ints("ids." + prompt), static_cast<int>(expected.size()), eos), expected);
}

TEST_P(TinyTalesOnDevice, DraftsAreThoseOfTheCpu) {
  const std::vector<int32_t> ids = goldens_.Ints("ids." + GetParam().prompt);
  const std::span<const int32_t> behind = std::span(ids).subspan(1);
  const int last = static_cast<int>(behind.size()) - 1;
  const auto drafts = [&](const std::function<Backend()>& make_backend) {
    ModelSession session(GetParam().directory, {.mtp = MtpUse::kDraft, .make_backend = make_backend});
    const int sequence = session.AddSequence();
    session.Step({{.sequence = sequence, .ids = ids, .wanted = {}}});
    return session.Draft({{.sequence = sequence, .ids = behind, .wanted = {last - 1, last}}});
  };
  const LogitRows found = drafts(MakeUnreservedTestBackend), expected = drafts(nullptr);
  for (size_t row = 0; row < expected.size(); ++row) {
    for (size_t i = 0; i < expected[row].size(); ++i) {
      ASSERT_NEAR(found[row][i], expected[row][i], TestTraits().logit_error) << "row " << row << " id " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recorded, TinyTalesOnDevice, testing::ValuesIn(AllRecorded()), [](const auto& info) {
  std::string name = info.param.release + "_" + info.param.prompt;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace latentd
