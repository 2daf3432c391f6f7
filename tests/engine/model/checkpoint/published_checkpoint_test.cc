// Checkpoints that other programs wrote: the bundled model, and small ones of every family in the published form.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/checkpoint/checkpoint.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

absl::StatusOr<Checkpoint> Open(const std::filesystem::path& directory) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status status = checkpoint->CheckUnread(2); !status.ok()) return status;
  return checkpoint;
}

TEST(PublishedCheckpoint, BundledModel) {
  const std::filesystem::path directory = "models/tiny-tales";
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_context, 2048);
  EXPECT_EQ(config->num_mtp_layers, 1);
  EXPECT_THAT(config->eos_ids, ::testing::ElementsAre(1));
  EXPECT_EQ(config->generation.temperature, 0.6);
  EXPECT_EQ(config->generation.top_p, 0.95);
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->warnings(), ::testing::IsEmpty());
  EXPECT_EQ(checkpoint->tensor_bytes(), 9755696u - 8 - 71200);
  const MatrixSource dense = checkpoint->Matrix("model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(dense.dtype, DType::kE4M3);
  EXPECT_EQ(dense.outputs, 512);
  EXPECT_EQ(dense.inputs, 192);
  EXPECT_EQ(dense.scales.size(), 8u);
  EXPECT_EQ(checkpoint->Matrix("lm_head.weight").dtype, DType::kBf16);
  EXPECT_EQ(checkpoint->Vector("model.layers.1.mlp.gate.e_score_correction_bias").size(), 16u);
}

TEST(PublishedCheckpoint, BundledModelInBf16) {
  const absl::StatusOr<Checkpoint> checkpoint = Open("tests/data/tiny-tales-bf16");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Matrix("model.layers.0.mlp.up_proj.weight").dtype, DType::kBf16);
  EXPECT_NE(checkpoint->Digest(), Open("models/tiny-tales")->Digest());
}

class FamilyCheckpoint : public ::testing::TestWithParam<const char*> {};

TEST_P(FamilyCheckpoint, Loads) {
  const std::filesystem::path directory = SharedGoldens("goldens/family") / GetParam();
  if (!AreThere(directory)) GTEST_SKIP();
  const absl::StatusOr<Checkpoint> checkpoint = Open(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->warnings(), ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Published, FamilyCheckpoint,
                         ::testing::Values("v2_lite", "v2", "v3", "v31", "v31_e8m0", "moonlight", "k2", "glm4_moe_lite",
                                           "fp32"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace latentd
