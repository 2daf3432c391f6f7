// How often the layer that predicts further tokens is right on the bundled model: as often as transformers' is
// (tests/data/tiny-tales/README.md).
#include <cmath>
#include <cstdio>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/engine/model/goldens.h"
#include "tests/support/model_session.h"

namespace latentd {
namespace {

constexpr int kAhead = 4;  // drafts behind each token; what is recorded is the first

struct Release {
  std::string name, directory;
};
std::ostream& operator<<(std::ostream& out, const Release& release) { return out << release.name; }

struct Rates {
  int num_first_drafts = 0, num_as_recorded = 0, num_recorded_right = 0;
  int num_right[kAhead] = {};  // by how far ahead, where all before it were right
};

class DraftGoldens : public testing::TestWithParam<Release> {
 protected:
  static std::string GoldenFile(const char* end) { return "tests/data/tiny-tales/goldens-" + GetParam().name + end; }

  // The tokens that were recorded, one a step, with drafts behind each.
  void Follow(std::span<const int32_t> prompt, const std::vector<int32_t>& tokens,
              const std::vector<int32_t>& recorded_drafts, Rates& rates) {
    const int sequence = session_.AddSequence();
    session_.Step({{.sequence = sequence, .ids = prompt, .wanted = {}}});
    std::vector<int32_t> behind(prompt.begin() + 1, prompt.end());
    behind.push_back(tokens[0]);
    int position = 1;
    for (size_t next = 1; next < tokens.size(); ++next) {
      const std::vector<int32_t> drafts = DraftBehind(sequence, position, behind);
      ++rates.num_first_drafts;
      rates.num_as_recorded += drafts[0] == recorded_drafts[next] ? 1 : 0;
      rates.num_recorded_right += tokens[next] == recorded_drafts[next] ? 1 : 0;
      for (size_t i = 0; i < kAhead && next + i < tokens.size() && drafts[i] == tokens[next + i]; ++i) {
        ++rates.num_right[i];
      }
      position += static_cast<int>(behind.size());
      session_.Step({{.sequence = sequence, .ids = std::span(tokens).subspan(next - 1, 1), .wanted = {}}});
      behind = {tokens[next]};
    }
  }

  std::vector<int32_t> DraftBehind(int sequence, int position, std::span<const int32_t> behind) {
    std::vector<int32_t> drafts;
    const int last = static_cast<int>(behind.size()) - 1;
    LogitRows logits = session_.Draft({{.sequence = sequence, .position = position, .ids = behind, .wanted = {last}}});
    drafts.push_back(ArgMax(logits.front()));
    for (int i = 1; i < kAhead; ++i) {
      const std::vector<int32_t> draft = {drafts.back()};
      logits = session_.Draft({{.sequence = sequence, .position = position + last + i, .ids = draft, .wanted = {0}}});
      drafts.push_back(ArgMax(logits.front()));
    }
    return drafts;
  }

  ModelSession session_{GetParam().directory, {.mtp = MtpUse::kDraft}};
};

TEST_P(DraftGoldens, AreAsOftenRightAsRecorded) {
  const Goldens goldens(GoldenFile(".safetensors"));
  std::ifstream file(GoldenFile(".json"));
  const nlohmann::json recorded = nlohmann::json::parse(file);
  Rates rates;
  for (const nlohmann::json& prompt : recorded["prompts"]) {
    if (!prompt.contains("mtp") || prompt["mtp"].is_null()) continue;
    const nlohmann::json& mtp = prompt["mtp"];
    std::vector<int32_t> drafts = {-1};
    for (size_t i = 1; i < mtp["drafts"].size(); ++i) drafts.push_back(mtp["drafts"][i]);
    Follow(goldens.Ints("ids." + prompt["name"].get<std::string>()), mtp["tokens"], drafts, rates);
  }
  ASSERT_GT(rates.num_first_drafts, 500);
  const double allowed = 0.01 * rates.num_first_drafts;
  EXPECT_LE(std::abs(rates.num_right[0] - rates.num_recorded_right), allowed);
  EXPECT_GE(rates.num_as_recorded, rates.num_first_drafts - allowed);
  std::printf("%s: of %d first drafts %d are those recorded; right: %d (recorded %d)", GetParam().name.c_str(),
              rates.num_first_drafts, rates.num_as_recorded, rates.num_right[0], rates.num_recorded_right);
  for (int i = 1; i < kAhead; ++i) std::printf(", %d further %d", i, rates.num_right[i]);
  std::printf("\n");
}

INSTANTIATE_TEST_SUITE_P(Releases, DraftGoldens,
                         testing::Values(Release{"fp8", "models/tiny-tales"},
                                         Release{"bf16", "tests/data/tiny-tales-bf16"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace latentd
