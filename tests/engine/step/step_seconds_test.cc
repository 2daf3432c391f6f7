// Steps keep to max_step_seconds on a machine of known costs and a virtual clock: deep in long contexts, beside short
// requests, and when the machine becomes slower.
#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/step/calibration.h"
#include "engine/step/engine.h"
#include "tests/engine/step/engine_harness.h"
#include "tests/support/fake_executor.h"
#include "tests/support/manual_clock.h"

namespace latentd {
namespace {

constexpr int kContext = 20'000, kBlocks = 700;
constexpr double kSecondsPerStep = 0.002, kSecondsPerToken = 0.0002, kSecondsPerKey = 0.0000002;

double CostOf(const BatchInputs& batch) {
  double seconds = kSecondsPerStep + kSecondsPerToken * batch.num_tokens();
  for (const int32_t position : batch.positions) seconds += kSecondsPerKey * position;
  return seconds;
}

// What calibration runs on: it computes nothing, and takes its time.
class TimeOnly final : public StepExecutor, public Clock {
 public:
  void Launch(const BatchInputs& batch, std::span<const SampleRow>, std::span<const DraftRow>) override {
    now_ += FromSeconds(CostOf(batch));
  }
  std::span<SampleResult> Collect() override { return {}; }
  TimePoint Now() const override { return now_; }

 private:
  TimePoint now_{};
};

class ModelledEngine {
 public:
  ModelledEngine() {
    TimeOnly machine;
    const MeasuredRate rate = MeasureRate(
        machine, {.max_tokens = 512, .num_blocks = kBlocks, .vocab_size = 1000, .max_context = kContext}, machine);
    EngineOptions options = SmallEngine();
    options.scheduler.cache.num_blocks = kBlocks;
    options.scheduler.max_step_tokens = 512;
    options.scheduler.max_context_tokens = kContext;
    options.step.tokens_per_second = rate.tokens_per_second;
    options.step.work_per_key = rate.work_per_key;
    engine_.emplace(executor_, options, metrics_);
  }

  void Add(RequestId id, int prompt_tokens, int max_tokens) {
    Request request = MakeRequest(id, MakePrompt(prompt_tokens, static_cast<int>(id)), max_tokens);
    request.received = clock_.Now();
    ASSERT_TRUE(engine_->Add(std::move(request)).ok());
  }
  // Seconds that a step took; 0 where there was nothing to do.
  double Step() {
    const TimePoint begin = clock_.Now();
    std::optional<StepInFlight> step = engine_->Begin(begin);
    if (step) engine_->Complete(*std::move(step), clock_, output_);
    return Seconds(clock_.Now() - begin);
  }

  double slowness = 1.0;

 private:
  ManualClock clock_;
  StepOutput output_;
  Metrics metrics_;
  FakeExecutor executor_{
      {.num_blocks = kBlocks, .on_launch = [this](const BatchInputs& batch, std::span<const SampleRow>) {
         clock_.Advance(FromSeconds(slowness * CostOf(batch)));
       }}};
  std::optional<Engine> engine_;
};

TEST(StepSeconds, ALongPromptsStepsStayWithinTheBound) {
  ModelledEngine engine;
  engine.Add(1, 16'000, 3);
  double longest = 0.0;
  int steps = 0;
  for (double seconds = engine.Step(); seconds > 0.0; seconds = engine.Step(), ++steps) {
    longest = std::max(longest, seconds);
  }
  EXPECT_GT(steps, 30);
  EXPECT_LE(longest, 0.11);
  EXPECT_GE(longest, 0.08) << "and they use it";
}

TEST(StepSeconds, ShortPromptsBetweenDoNotMakeTheDeepStepsLong) {
  ModelledEngine engine;
  engine.Add(1, 16'000, 3);
  double longest = 0.0;
  RequestId next = 2;
  for (int step = 0; step < 200; ++step) {
    if (step % 2 == 0) engine.Add(next++, 200, 2);
    longest = std::max(longest, engine.Step());
  }
  EXPECT_LE(longest, 0.11);
}

TEST(StepSeconds, AMachineThatBecomesSlowExceedsTheBoundInTwoStepsOnly) {
  ModelledEngine engine;
  engine.Add(1, 16'000, 3);
  for (int step = 0; step < 3; ++step) engine.Step();
  engine.slowness = 5.0;
  std::vector<double> seconds;
  for (int step = 0; step < 40; ++step) seconds.push_back(engine.Step());
  EXPECT_LE(std::count_if(seconds.begin(), seconds.end(), [](double taken) { return taken > 0.11; }), 3);
  EXPECT_LE(*std::max_element(seconds.begin() + 3, seconds.end()), 0.125);
}

}  // namespace
}  // namespace latentd
