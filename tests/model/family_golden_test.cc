// Random checkpoints of every family in the published form, and what transformers computed for them in fp32.
#include <algorithm>
#include <cmath>
#include <memory>

#include <gtest/gtest.h>

#include "tests/model/goldens.h"
#include "tests/support/model_session.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

constexpr float kLogitBound = 2e-3f;  // the README of the goldens: logits are of magnitude 15

class FamilyGoldens : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::filesystem::path directory = SharedGoldens("goldens/family") / GetParam();
    if (!AreThere(directory)) GTEST_SKIP();
    goldens_ = std::make_unique<Goldens>(directory / "goldens.safetensors");
    session_ = std::make_unique<ModelSession>(directory, ModelSession::Options{.max_context = 512});
  }

  std::unique_ptr<Goldens> goldens_;
  std::unique_ptr<ModelSession> session_;
};

TEST_P(FamilyGoldens, LogitsAreWithinTheBound) {
  for (const std::string& prompt : goldens_->prompts()) {
    const std::vector<float> expected = goldens_->Floats("logits." + prompt);
    const LogitRows rows = session_->Run(goldens_->Ints("ids." + prompt), goldens_->Ints("rows." + prompt));
    const size_t width = static_cast<size_t>(session_->config().vocab_size);
    ASSERT_EQ(rows.size() * width, expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(rows[i / width][i % width], expected[i], kLogitBound) << prompt << " value " << i;
    }
  }
}

TEST_P(FamilyGoldens, GreedyContinuationsAreIdentical) {
  for (const std::string& prompt : goldens_->prompts()) {
    const std::vector<int32_t> expected = goldens_->Ints("greedy." + prompt);
    const std::vector<int32_t> output =
        session_->Greedy(goldens_->Ints("ids." + prompt), static_cast<int>(expected.size()), -1);
    EXPECT_EQ(output, expected) << prompt;
  }
}

INSTANTIATE_TEST_SUITE_P(Published, FamilyGoldens,
                         ::testing::Values("v2_lite", "v2", "v3", "v31", "v31_e8m0", "moonlight", "k2", "glm4_moe_lite",
                                           "fp32"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace latentd
