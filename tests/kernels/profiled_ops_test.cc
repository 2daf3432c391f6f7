// That a profile says what each verb had to do, and records only while it is held.
#include "kernels/profiled_ops.h"

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kWidth = 64;

class ProfiledOpsTest : public testing::Test {
 protected:
  ProfiledOpsTest() : backend_(OrDie(MakeCpuBackend(1))), ops_(std::move(backend_.ops)) {
    EXPECT_TRUE(
        ops_.Reserve({.max_tokens = 4,
                      .max_rows = 4,
                      .max_logit_rows = 4,
                      .max_context = 64,
                      .hidden_size = kWidth,
                      .max_linear_inputs = kWidth,
                      .vocab_size = 32,
                      .attention =
                          {.num_heads = 1, .nope_width = 16, .rope_width = 16, .value_width = 16, .latent_width = 32}})
            .ok());
    matrix_ = OrDie(ops_.PackLinear({.dtype = DType::kBf16,
                                     .outputs = kWidth,
                                     .inputs = kWidth,
                                     .bytes = reinterpret_cast<const std::byte*>(weight_.data()),
                                     .name = "some.weight"}));
  }

  // 3 tokens in 2 rows, and two verbs.
  void Step() {
    BatchInputs inputs;
    inputs.rows = {{.first_token = 0, .num_tokens = 2}, {.first_token = 2, .num_tokens = 1}};
    inputs.token_ids = {1, 2, 3};
    ops_.Upload(inputs, {});
    const Tensor x{values_.data(), 3, kWidth, kWidth}, out{results_.data(), 3, kWidth, kWidth};
    ops_.RmsNorm(x, norm_.data(), 1e-6f, x);
    ops_.Linear(x, *matrix_, out);
    ops_.Collect({});
  }

  const std::vector<uint16_t> weight_ = std::vector<uint16_t>(kWidth * kWidth, 0x3f80);
  const std::vector<float> norm_ = std::vector<float>(kWidth, 1.0f);
  std::vector<float> values_ = std::vector<float>(3 * kWidth, 1.0f), results_ = values_;
  Backend backend_;
  ProfiledOps ops_;
  std::unique_ptr<const Matrix> matrix_;
};

TEST_F(ProfiledOpsTest, TellsWhatEachCallHadToDo) {
  const auto recording = ops_.Record(1);
  Step();
  ASSERT_TRUE(recording->is_complete());
  const ProfiledStep& step = recording->steps().front();
  EXPECT_EQ(step.rows, 2);
  EXPECT_EQ(step.tokens, 3);
  ASSERT_EQ(step.calls.size(), 2u);
  const ProfiledCall &norm = step.calls[0], &linear = step.calls[1];
  EXPECT_EQ(norm.verb, "RmsNorm");
  EXPECT_EQ(norm.cost.flops, 0.0);
  EXPECT_EQ(linear.verb, "Linear");
  EXPECT_EQ(linear.weight, "some.weight");
  EXPECT_EQ(linear.rows, 3);
  EXPECT_EQ(linear.cost.bytes, 2.0 * kWidth * kWidth);
  EXPECT_EQ(linear.cost.flops, 2.0 * 3 * kWidth * kWidth);
  EXPECT_LE(step.started, norm.started);
  EXPECT_LE(norm.started + norm.took, linear.started);
  EXPECT_LE(norm.took + linear.took, step.took);
}

TEST_F(ProfiledOpsTest, ComputesTheSame) {
  Step();
  const std::vector<float> without = results_;
  values_.assign(values_.size(), 1.0f);
  const auto recording = ops_.Record(1);
  Step();
  EXPECT_EQ(results_, without);
}

TEST_F(ProfiledOpsTest, RecordsAsManyStepsAsWereAskedFor) {
  const auto recording = ops_.Record(2);
  Step();
  EXPECT_FALSE(recording->is_complete());
  Step();
  EXPECT_TRUE(recording->is_complete());
  Step();
  EXPECT_EQ(recording->steps().size(), 2u);
}

TEST_F(ProfiledOpsTest, OneRecordingAtATime) {
  const auto recording = ops_.Record(1);
  EXPECT_EQ(ops_.Record(1), nullptr);
  Step();
  EXPECT_NE(ops_.Record(1), nullptr);
}

TEST_F(ProfiledOpsTest, RecordingThatIsLetGoMakesRoomForAnother) {
  auto recording = ops_.Record(2);
  Step();
  recording.reset();
  recording = ops_.Record(1);
  ASSERT_NE(recording, nullptr);
  Step();
  EXPECT_EQ(recording->steps().size(), 1u);
}

TEST(OpCost, ExpertsThatNoRowChoseAreNotRead) {
  const WeightSize expert{.bytes = 10.0, .values = 10.0}, shared{.bytes = 7.0, .values = 7.0};
  int32_t experts[] = {0, 2, 2, 3};
  const OpCost cost = MixCost({.routed = std::vector<WeightSize>(8, expert), .shared = shared},
                              {.experts = experts, .rows = 2, .experts_per_token = 2});
  EXPECT_EQ(cost.bytes, 3 * 10.0 + 7.0);
  EXPECT_EQ(cost.flops, 2.0 * (4 * 10.0 + 2 * 7.0));
}

TEST(OpCost, BlockThatRowsShareIsReadOnce) {
  BatchInputs step;
  step.rows = {{.first_token = 0, .num_tokens = 1, .first_position = 70, .first_block = 0},
               {.first_token = 1, .num_tokens = 1, .first_position = 64, .first_block = 2}};
  step.blocks = {5, 6, 5, 7};
  step.token_ids = {1, 1};
  step.positions = {70, 64};
  const AttentionShape shape{.num_heads = 2, .rope_width = 16, .latent_width = 32};
  const LatentPages pages{.format = LatentFormat::kF32, .latent_width = 32, .rope_width = 16};
  const OpCost cost = AttendCost({.bytes = 100.0, .values = 100.0}, shape, ViewOf(step), pages);
  EXPECT_EQ(cost.bytes, 100.0 + (64 + 7 + 1) * 48 * 4.0);
  EXPECT_EQ(cost.flops, 2.0 * 2 * 100.0 + 2.0 * (71 + 65) * 2 * (2 * 32 + 16));
}

TEST(OpCost, KeysBeforeTheFirstAreNotRead) {
  BatchInputs step;
  step.rows = {{.first_token = 0, .num_tokens = 3, .first_position = 130, .first_block = 0, .first_key = 70}};
  step.blocks = {5, 6, 7};
  step.token_ids = {1, 1, 1};
  step.positions = {130, 131, 132};
  const AttentionShape shape{.num_heads = 2, .rope_width = 16, .latent_width = 32};
  const LatentPages pages{.format = LatentFormat::kF32, .latent_width = 32, .rope_width = 16};
  const OpCost cost = AttendCost({.bytes = 100.0, .values = 100.0}, shape, ViewOf(step), pages);
  EXPECT_EQ(cost.bytes, 100.0 + (132 - 70 + 1) * 48 * 4.0);
  EXPECT_EQ(cost.flops, 2.0 * 3 * 100.0 + 2.0 * (61 + 62 + 63) * 2 * (2 * 32 + 16));
}

TEST(OpCost, WeightsAreAsTheyAreStored) {
  const std::vector<float> scales(4);
  const MatrixSource fp8{.dtype = DType::kE4M3, .outputs = 256, .inputs = 256, .scales = scales};
  EXPECT_EQ(WeightSizeOf(fp8).bytes, 256.0 * 256 + 4 * 4);
  const MatrixSource int4{.dtype = DType::kInt4, .outputs = 2, .inputs = 40};
  EXPECT_EQ(WeightSizeOf(int4).bytes, 2 * (5 * 4.0 + 2 * 2));
}

TEST(OpCost, TellsWeightsThatMeetRoundedInputs) {
  const auto cost_of = [](DType dtype, bool keeps_inputs) {
    const MatrixSource source{.dtype = dtype, .outputs = 2, .inputs = 32, .keeps_inputs = keeps_inputs};
    return LinearCost(WeightSizeOf(source), 3);
  };
  constexpr double kFlops = 2.0 * 2 * 32 * 3;
  EXPECT_EQ(cost_of(DType::kBf16, false).bf16_flops, kFlops);
  EXPECT_EQ(cost_of(DType::kE4M3, false).e4m3_flops, kFlops);
  for (const OpCost& cost : {cost_of(DType::kBf16, true), cost_of(DType::kInt4, false), cost_of(DType::kF32, false)}) {
    EXPECT_EQ(cost.flops, kFlops);
    EXPECT_EQ(cost.bf16_flops + cost.e4m3_flops, 0.0);
  }
}

}  // namespace
}  // namespace latentd
