#include "engine/step/calibration.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cache_block.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Lt;

// A machine that takes `per_step` for each step and `per_token` for each of its tokens.
class ModelledMachine final : public StepExecutor, public Clock {
 public:
  ModelledMachine(Duration per_step, Duration per_token) : per_step_(per_step), per_token_(per_token) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow>, std::span<const DraftRow>) override {
    steps.push_back(batch.num_tokens());
    slots.insert(slots.end(), batch.slots.begin(), batch.slots.end());
    now_ += per_step_ + batch.num_tokens() * per_token_;
  }
  std::span<SampleResult> Collect() override { return {}; }
  TimePoint Now() const override { return now_; }

  double Measure(int max_tokens, int max_context = 0) {
    const int num_blocks = max_context > 0 ? 64 : 9;
    return MeasureRate(
               *this,
               {.max_tokens = max_tokens, .num_blocks = num_blocks, .vocab_size = 1000, .max_context = max_context},
               *this)
        .tokens_per_second;
  }

  std::vector<int> steps;
  std::vector<int32_t> slots;  // that were written

 private:
  const Duration per_step_, per_token_;
  TimePoint now_{};
};

TEST(Calibration, GrowsUntilAStepTakesSixMilliseconds) {
  ModelledMachine machine(std::chrono::milliseconds(1), std::chrono::microseconds(50));
  EXPECT_NEAR(machine.Measure(512), 128 / (0.001 + 128 * 50e-6), 1.0);
  EXPECT_THAT(machine.steps, ElementsAre(1, 16, 32, 64, 128));
}

TEST(Calibration, KeysAreMeasuredWithTheFirstStepThatTakesTwoMilliseconds) {
  ModelledMachine machine(std::chrono::milliseconds(1), std::chrono::microseconds(50));
  machine.Measure(512, 4000);
  EXPECT_THAT(machine.steps, ElementsAre(1, 16, 32, 64, 128, 32));
}

TEST(Calibration, WritesToNoOtherBlocksDeepInAContext) {
  ModelledMachine machine(std::chrono::milliseconds(1), std::chrono::microseconds(50));
  machine.Measure(512, 4000);
  EXPECT_THAT(machine.slots, Each(AllOf(Ge(kBlockSlots), Lt(3 * kBlockSlots))));  // 128 tokens after the scratch block
}

TEST(Calibration, ASlowModelRunsASingleTokenAndItsSmallestStep) {
  ModelledMachine machine(std::chrono::seconds(1), std::chrono::milliseconds(1));
  EXPECT_NEAR(machine.Measure(512), 16 / 1.016, 0.1);
  EXPECT_THAT(machine.steps, ElementsAre(1, 16));
}

TEST(Calibration, StaysWithinStepAndCache) {
  ModelledMachine machine(Duration(1), Duration(1));
  machine.Measure(40);
  EXPECT_THAT(machine.steps, ElementsAre(1, 16, 32, 40));
  machine.steps.clear();
  machine.Measure(100'000);
  EXPECT_THAT(machine.steps, ElementsAre(1, 16, 32, 64, 128, 256, 512));  // eight blocks of 64
}

}  // namespace
}  // namespace latentd
