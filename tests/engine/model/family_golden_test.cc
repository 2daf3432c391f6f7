// Random checkpoints of every family in the published form, and what transformers computed for them in fp32.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/weights.h"
#include "tests/engine/model/goldens.h"
#include "tests/support/model_session.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

// The README of the goldens: logits are of magnitude 15, what the last norm leaves of magnitude 5.
constexpr float kLogitBound = 2e-3f;
constexpr float kHiddenBound = 1e-3f;
constexpr float kExpertWeightBound = 1e-3f;

class FamilyGoldens : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!AreThere(directory_)) GTEST_SKIP();
    goldens_ = std::make_unique<Goldens>(directory_ / "goldens.safetensors");
    session_ = std::make_unique<ModelSession>(directory_,
                                              ModelSession::Options{.max_context = 512, .wrap = RecordInto(record_)});
  }

  const std::filesystem::path directory_ = SharedGoldens("goldens/family") / GetParam();

  // The largest difference of the rows to a recorded tensor of as many values.
  double LargestDifference(const LogitRows& rows, const std::vector<float>& expected) {
    double largest = 0.0;
    size_t next = 0;
    for (const std::vector<float>& row : rows) {
      for (const float value : row) {
        if (next == expected.size()) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, std::fabs(double{value} - expected[next++]));
      }
    }
    return next == expected.size() ? largest : std::numeric_limits<double>::infinity();
  }

  std::unique_ptr<Goldens> goldens_;
  ForwardRecord record_;
  std::unique_ptr<ModelSession> session_;
};

TEST_P(FamilyGoldens, LogitsAreWithinTheBound) {
  double largest = 0.0;
  for (const std::string& prompt : goldens_->prompts()) {
    const LogitRows rows = session_->Run(goldens_->Ints("ids." + prompt), goldens_->Ints("rows." + prompt));
    const double difference = LargestDifference(rows, goldens_->Floats("logits." + prompt));
    EXPECT_LE(difference, kLogitBound) << prompt;
    largest = std::max(largest, difference);
  }
  std::printf("%s: largest logit difference %.2e\n", GetParam(), largest);
}

TEST_P(FamilyGoldens, HiddenStatesAreWithinTheBound) {
  int compared = 0;
  for (const std::string& prompt : goldens_->prompts()) {
    if (!goldens_->Has("hidden." + prompt)) continue;
    const std::vector<int32_t> ids = goldens_->Ints("ids." + prompt);
    session_->Run(ids, AllPositions(ids.size()));
    const double difference = LargestDifference(record_.hidden, goldens_->Floats("hidden." + prompt));
    EXPECT_LE(difference, kHiddenBound) << prompt;
    std::printf("%s %s: largest difference of a hidden state %.2e\n", GetParam(), prompt.c_str(), difference);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST_P(FamilyGoldens, ExpertChoicesAreIdenticalAndTheirWeightsWithinTheBound) {
  for (const std::string& prompt : goldens_->prompts()) {
    record_.routings.clear();
    session_->Run(goldens_->Ints("ids." + prompt), {});
    ExpectExperts(record_, *goldens_, prompt, kExpertWeightBound);
  }
}

TEST_P(FamilyGoldens, GreedyContinuationsAreIdentical) {
  for (const std::string& prompt : goldens_->prompts()) {
    const std::vector<int32_t> expected = goldens_->Ints("greedy." + prompt);
    ASSERT_GT(goldens_->Floats("margin." + prompt).front(), kLogitBound) << prompt << ": two engines may part";
    const std::vector<int32_t> output =
        session_->Greedy(goldens_->Ints("ids." + prompt), static_cast<int>(expected.size()), -1);
    EXPECT_EQ(output, expected) << prompt;
  }
}

// Row i is made of the hidden state of i and the token of i + 1.
TEST_P(FamilyGoldens, LogitsOfFurtherTokensAreWithinTheBound) {
  const bool has_layer = session_->config().num_mtp_layers > 0;
  ASSERT_EQ(goldens_->Has("mtp.n2") && goldens_->Has("mtp.n65"), has_layer);
  if (!has_layer) return;
  ModelSession session(directory_, {.max_context = 512, .mtp = MtpUse::kDraft});
  for (const std::string prompt : {"n2", "n65"}) {
    const std::vector<int32_t> ids = goldens_->Ints("ids." + prompt);
    const std::span<const int32_t> next = std::span(ids).subspan(1);
    const int sequence = session.AddSequence();
    session.Step({{.sequence = sequence, .ids = ids, .wanted = {}}});
    const std::vector<int32_t> all = AllPositions(next.size());
    const LogitRows rows =
        session.Draft({{.sequence = sequence, .ids = next, .wanted = std::vector<int>(all.begin(), all.end())}});
    const double difference = LargestDifference(rows, goldens_->Floats("mtp." + prompt));
    EXPECT_LE(difference, kLogitBound) << prompt;
    std::printf("%s %s: largest difference of a draft's logit %.2e\n", GetParam(), prompt.c_str(), difference);
  }
}

TEST_P(FamilyGoldens, NothingRecordedIsLeftOut) {
  const std::set<std::string> compared_above = {"ids",    "rows",   "logits", "experts", "expert_weights",
                                                "greedy", "margin", "hidden", "mtp"};
  for (const std::string& name : goldens_->names()) {
    const std::string kind = name.substr(0, name.find('.'));
    const bool elsewhere = kind == "w8a8" || kind == "w8a8_kvb";  // FP8 activations
    EXPECT_TRUE(elsewhere || compared_above.contains(kind)) << name << " is compared nowhere";
  }
  EXPECT_EQ(goldens_->prompts().size(), 7u);
}

INSTANTIATE_TEST_SUITE_P(Published, FamilyGoldens,
                         ::testing::Values("v2_lite", "v2", "v3", "v31", "v31_e8m0", "moonlight", "k2", "glm4_moe_lite",
                                           "fp32"),
                         [](const auto& family) { return std::string(family.param); });

// Every tensor of the indexer and of the MTP layer is read and judged; the forward pass is refused.
TEST(SparseAttentionGoldens, AreCheckedButNotComputed) {
  const std::filesystem::path directory = SharedGoldens("goldens/family/v32");
  if (!AreThere(directory)) GTEST_SKIP();
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  for (const absl::Status& problem : Checkpoint::FindProblems(directory, *config)) ADD_FAILURE() << problem;
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->Has("model.layers.2.self_attn.indexer.wq_b.weight"));
  EXPECT_TRUE(checkpoint->Has("model.layers.3.self_attn.indexer.k_norm.bias"));
  EXPECT_EQ(CheckComputable(*config).code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace latentd
