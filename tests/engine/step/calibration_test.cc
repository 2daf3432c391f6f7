#include "engine/step/calibration.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_executor.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;

// A machine that takes `per_step` for each step and `per_token` for each of its tokens.
class ModelledMachine final : public Clock {
 public:
  ModelledMachine(Duration per_step, Duration per_token)
      : executor_({.num_blocks = 9,
                   .on_launch = [this, per_step, per_token](const BatchInputs& batch, std::span<const SampleRow>) {
                     steps.push_back(batch.num_tokens());
                     now_ += per_step + batch.num_tokens() * per_token;
                   }}) {}

  TimePoint Now() const override { return now_; }
  double Measure(int max_tokens) {
    return MeasureRate(executor_, {.max_tokens = max_tokens, .num_blocks = 9, .vocab_size = 1000}, *this)
        .tokens_per_second;
  }

  std::vector<int> steps;

 private:
  FakeExecutor executor_;
  TimePoint now_{};
};

TEST(Calibration, GrowsUntilAStepTakesAHundredthOfASecond) {
  ModelledMachine machine(std::chrono::milliseconds(1), std::chrono::microseconds(50));
  EXPECT_NEAR(machine.Measure(512), 256 / (0.001 + 256 * 50e-6), 1.0);
  EXPECT_THAT(machine.steps, ElementsAre(16, 16, 32, 64, 128, 256));
}

TEST(Calibration, ASlowModelRunsItsSmallestStepTwice) {
  ModelledMachine machine(std::chrono::seconds(1), std::chrono::milliseconds(1));
  EXPECT_NEAR(machine.Measure(512), 16 / 1.016, 0.1);
  EXPECT_THAT(machine.steps, ElementsAre(16, 16));
}

TEST(Calibration, StaysWithinStepAndCache) {
  ModelledMachine machine(Duration(1), Duration(1));
  machine.Measure(40);
  EXPECT_THAT(machine.steps, ElementsAre(16, 16, 32, 40));
  machine.steps.clear();
  machine.Measure(100'000);
  EXPECT_THAT(machine.steps, ElementsAre(16, 16, 32, 64, 128, 256, 512));  // eight blocks of 64
}

}  // namespace
}  // namespace latentd
