// The values that transformers computed for tiny-tales in fp32 (tests/data/tiny-tales/README.md), both checkpoints.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/engine/model/goldens.h"
#include "tests/support/forward_recorder.h"
#include "tests/support/model_session.h"

namespace latentd {
namespace {

constexpr double kLogitBound = 1e-4;
constexpr double kExpertWeightBound = 1e-5;
// Below this distance of the two best logits two correct engines may part (README of the goldens).
constexpr float kClearMargin = 1e-3f;

struct Release {
  std::string name, directory, goldens;
};
std::ostream& operator<<(std::ostream& out, const Release& release) { return out << release.name; }

class TinyTales : public testing::TestWithParam<Release> {
 protected:
  TinyTales() : goldens_(GetParam().goldens), session_(GetParam().directory, {.wrap = RecordInto(record_)}) {}

  Goldens goldens_;
  ForwardRecord record_;
  ModelSession session_;
};

TEST_P(TinyTales, LogitsAreWithinTheBoundAtEveryRecordedPosition) {
  double largest = 0.0;
  for (const std::string& prompt : goldens_.prompts()) {
    const std::vector<int32_t> positions = goldens_.Ints("positions." + prompt);
    const std::vector<float> expected = goldens_.Floats("logits." + prompt);
    const LogitRows logits = session_.Run(goldens_.Ints("ids." + prompt), positions);
    ASSERT_EQ(logits.size(), positions.size());
    const size_t vocab = static_cast<size_t>(session_.config().vocab_size);
    ASSERT_EQ(expected.size(), positions.size() * vocab);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = std::fabs(static_cast<double>(logits[i / vocab][i % vocab]) - expected[i]);
      ASSERT_LE(difference, kLogitBound) << prompt << " position " << positions[i / vocab] << " id " << i % vocab;
      largest = std::max(largest, difference);
    }
  }
  RecordProperty("largest_difference", std::to_string(largest));
  std::printf("%s: largest logit difference %.2e\n", GetParam().name.c_str(), largest);
}

TEST_P(TinyTales, ExpertChoicesAreIdenticalAndTheirWeightsWithinTheBound) {
  for (const std::string& prompt : goldens_.prompts()) {
    record_.routings.clear();
    session_.Run(goldens_.Ints("ids." + prompt), {});
    ExpectExperts(record_, goldens_, prompt, kExpertWeightBound);
  }
}

TEST_P(TinyTales, GreedyContinuationsAreIdentical) {
  for (const std::string& prompt : goldens_.prompts()) {
    std::vector<int32_t> expected = goldens_.Ints("greedy." + prompt);
    const std::vector<float> margins = goldens_.Floats("margins." + prompt);
    const auto unclear = std::find_if(margins.begin(), margins.end(), [](float m) { return m < kClearMargin; });
    expected.resize(static_cast<size_t>(unclear - margins.begin()));
    ASSERT_GE(expected.size(), 8u) << prompt << ": too little to compare";
    const int32_t eos = session_.config().eos_ids.front();
    EXPECT_EQ(session_.Greedy(goldens_.Ints("ids." + prompt), static_cast<int>(expected.size()), eos), expected)
        << prompt;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Releases, TinyTales,
    testing::Values(Release{"fp8", "models/tiny-tales", "tests/data/tiny-tales/goldens-fp8.safetensors"},
                    Release{"bf16", "tests/data/tiny-tales-bf16", "tests/data/tiny-tales/goldens-bf16.safetensors"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace latentd
