// The engine's reports: kinds of steps, waits, prompt tokens, times of ends and of commands.
#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/step/timed_executor.h"
#include "tests/engine/step/engine_harness.h"

namespace latentd {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

EngineOptions Unhurried() {
  EngineOptions options = SmallEngine();
  options.step.max_step_seconds = std::numeric_limits<double>::infinity();
  return options;
}

uint64_t StepsOf(StepKind kind, const MetricsData& data) {
  return data.step_seconds[static_cast<size_t>(kind)].count();
}

void ExpectPromptLaw(const MetricsData& data) {
  EXPECT_EQ(data.prompt_tokens_admitted, data.prompt_tokens_computed + data.prompt_tokens_cached +
                                             data.prompt_tokens_abandoned +
                                             static_cast<uint64_t>(data.prompt_tokens_pending));
}

TEST(EngineMetrics, StepsAreCountedByWhatTheirRowsDo) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 3));
  harness.Step();
  harness.Add(MakeRequest(2, MakePrompt(10), 3));
  harness.StepUntilIdle();
  const MetricsData data = harness.metrics();
  EXPECT_EQ(StepsOf(StepKind::kPrefill, data), 1u);
  EXPECT_EQ(StepsOf(StepKind::kMixed, data), 1u);
  EXPECT_EQ(StepsOf(StepKind::kDecode, data), 2u);
  EXPECT_EQ(data.step_rows.count(), 4u);
}

TEST(EngineMetrics, AdmittedPromptTokensAreComputedCachedPendingOrAbandoned) {
  EngineOptions options = Unhurried();
  options.scheduler.max_step_tokens = 100;
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(70), 3));
  harness.Add(MakeRequest(2, MakePrompt(80, 1), 3));
  harness.Add(MakeRequest(3, MakePrompt(90), 3));
  harness.Step();
  EXPECT_EQ(harness.metrics().prompt_tokens_admitted, 240u);
  EXPECT_EQ(harness.metrics().prompt_tokens_computed, 100u);
  EXPECT_EQ(harness.metrics().prompt_tokens_pending, 140);
  ExpectPromptLaw(harness.metrics());
  harness.engine().Cancel(2);
  harness.Step();
  EXPECT_EQ(harness.metrics().prompt_tokens_abandoned, 50u);
  ExpectPromptLaw(harness.metrics());
  harness.StepUntilIdle();
  EXPECT_EQ(harness.metrics().prompt_tokens_pending, 0);
  EXPECT_EQ(harness.metrics().prompt_tokens_cached, 70u);
  EXPECT_EQ(harness.metrics().prefix_queried_tokens, 240u);
  ExpectPromptLaw(harness.metrics());
}

TEST(EngineMetrics, EndedSequencesLeaveCachedBlocks) {
  EngineOptions options = Unhurried();
  options.scheduler.cache.num_blocks = 41;
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(100), 50));
  harness.Step();
  EXPECT_EQ(harness.metrics().kv_blocks_active, 2);
  EXPECT_EQ(harness.metrics().kv_blocks_free, 38);
  harness.engine().Cancel(1);
  harness.Step();
  EXPECT_EQ(harness.metrics().kv_blocks_active, 0);
  EXPECT_EQ(harness.metrics().kv_blocks_cached, 2);
  EXPECT_EQ(harness.metrics().kv_blocks_free, 38);
}

TEST(EngineMetrics, EndsTellWhatWasComputed) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 20));
  for (int i = 0; i < 4; ++i) harness.Step();
  harness.engine().Cancel(1);
  harness.Step();
  EXPECT_EQ(harness.ends.at(1).generated_tokens, 4);
  EXPECT_EQ(harness.ends.at(1).computed_tokens, 13);  // the last token was sampled and never computed
}

TEST(EngineMetrics, EndsCarryTheGapsBetweenTheirTokens) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 5));
  harness.StepUntilIdle();
  const Histogram& gaps = harness.ends.at(1).timings.token_gaps;
  EXPECT_EQ(gaps.count(), 4u);
  EXPECT_DOUBLE_EQ(gaps.sum(), 4 * 0.010);
}

TEST(EngineMetrics, CancelledEndsTellWhenItWasAskedAndDone) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 20));
  harness.Step();
  const TimePoint asked = harness.now();
  harness.Advance(milliseconds(7));
  harness.engine().Cancel(1, FinishReason::kCancelled, asked);
  harness.Step();
  const SequenceTimings& timings = harness.ends.at(1).timings;
  EXPECT_EQ(timings.cancel_asked, asked);
  EXPECT_EQ(timings.released - timings.cancel_asked, milliseconds(7));
}

TEST(EngineMetrics, WhatEndsByItselfIsReleasedWhenItsStepIsOver) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 1));
  harness.Step();
  EXPECT_EQ(harness.ends.at(1).timings.released, harness.ends.at(1).timings.finished);
}

TEST(EngineMetrics, GapsBetweenStepsCountOnlyWhileThereIsWork) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 3));
  harness.Step();
  harness.Advance(milliseconds(2));
  harness.Step();
  harness.Advance(milliseconds(3));
  harness.StepUntilIdle();
  harness.Advance(std::chrono::seconds(100));
  harness.Add(MakeRequest(2, MakePrompt(10), 1));
  harness.StepUntilIdle();
  EXPECT_EQ(harness.metrics().step_gap_seconds.count(), 2u);
  EXPECT_NEAR(harness.metrics().step_gap_seconds.sum(), 0.005, 1e-9);
}

TEST(EngineMetrics, PausesAndResumesCountWhereTheyChangeSomething) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 20));
  harness.Step();
  harness.engine().Pause(1);
  harness.engine().Pause(1);
  harness.engine().Resume(1);
  harness.engine().Resume(1);
  harness.engine().Pause(99);
  harness.Step();
  EXPECT_EQ(harness.metrics().sequences_paused, 1u);
  EXPECT_EQ(harness.metrics().sequences_resumed, 1u);
}

TEST(EngineMetrics, APauseIsCountedThoughNothingIsLeftToRun) {
  EngineHarness harness(Unhurried());
  harness.Add(MakeRequest(1, MakePrompt(10), 20));
  harness.Step();
  harness.engine().Pause(1);
  EXPECT_TRUE(harness.Step().idle());
  EXPECT_EQ(harness.metrics().sequences_paused, 1u);
  harness.engine().Resume(1);
  harness.StepUntilIdle();
  EXPECT_EQ(harness.metrics().sequences_resumed, 1u);
}

TEST(EngineMetrics, NonFiniteRowsAreCounted) {
  EngineHarness harness(Unhurried(), {.nonfinite_seed = 101});
  for (RequestId id = 1; id <= 2; ++id) harness.Add(MakeRequest(id, MakePrompt(10), 2));
  harness.StepUntilIdle();
  EXPECT_EQ(harness.metrics().nonfinite_rows, 1u);
}

TEST(EngineMetrics, WaitingSequencesAreCountedByWhatTheFirstLacked) {
  EngineOptions options = Unhurried();
  options.scheduler.max_step_rows = 1;
  EngineHarness harness(options);
  for (RequestId id = 1; id <= 3; ++id) harness.Add(MakeRequest(id, MakePrompt(10), 2));
  harness.StepUntilIdle();
  // Two wait for two steps, then one for two more.
  EXPECT_THAT(harness.metrics().queue_waits, ElementsAre(6, 0, 0, 0));
}

TEST(EngineMetrics, LastStepIsWhenItWasOver) {
  EngineHarness harness(Unhurried());
  EXPECT_EQ(harness.metrics().last_step, kNever);
  harness.Add(MakeRequest(1, MakePrompt(10), 1));
  harness.Step();
  EXPECT_EQ(harness.metrics().last_step, harness.now());
}

TEST(EngineMetrics, WhatEndsInFlightIsAbandonedNotComputed) {
  EngineHarness harness;
  harness.Add(MakeRequest(1, MakePrompt(10), 2));
  std::optional<StepInFlight> step = harness.engine().Begin(harness.now());
  harness.engine().Cancel(1);
  harness.Complete(std::move(step));
  const MetricsData data = harness.metrics();
  EXPECT_EQ(data.prompt_tokens_admitted, 10u);
  EXPECT_EQ(data.prompt_tokens_computed, 0u);
  EXPECT_EQ(data.prompt_tokens_abandoned, 10u);
  EXPECT_EQ(data.prompt_tokens_pending, 0);
  EXPECT_EQ(harness.in_flight(Phase::kQueued), 0);
  EXPECT_EQ(harness.in_flight(Phase::kPrefill), 0);
  EXPECT_EQ(harness.in_flight(Phase::kOutput), 1);
}

// Each look at it takes a millisecond.
class TickingClock final : public Clock {
 public:
  TimePoint Now() const override { return now_ += milliseconds(1); }

 private:
  mutable TimePoint now_{std::chrono::seconds(1000)};
};

TEST(EngineMetrics, TimeOfTheSchedulerIsTheStepWithoutTheModel) {
  const TickingClock clock;
  Metrics metrics;
  const EngineOptions options = Unhurried();
  FakeExecutor fake({.num_blocks = options.scheduler.cache.num_blocks});
  TimedExecutor executor(fake, clock);
  Engine engine(executor, options, metrics);
  ASSERT_TRUE(engine.Add(MakeRequest(1, MakePrompt(10), 1)).ok());
  std::optional<StepInFlight> step = engine.Begin(clock.Now());  // looks at 1, within it at 2 and 3, at 4
  ASSERT_TRUE(step.has_value());
  StepOutput output;
  engine.Complete(*std::move(step), clock, output);
  EXPECT_EQ(executor.last_duration(), std::optional<Duration>(milliseconds(1)));
  EXPECT_NEAR(metrics.Snapshot().scheduler_seconds.sum(), 0.002, 1e-9);
}

TEST(EngineMetrics, DraftsAreCountedAsTheEndsOfSequencesTellThem) {
  EngineOptions options = Unhurried();
  options.scheduler.max_drafts = 3;
  EngineHarness harness(options, {.draft_accuracy = 0.6});
  for (int drafts = 0; drafts <= 3; ++drafts) {
    const auto id = static_cast<RequestId>(drafts + 1);
    Request request = MakeRequest(id, MakePrompt(10 + drafts), 40);
    request.max_drafts = drafts;
    harness.Add(std::move(request));
  }
  harness.StepUntilIdle();
  uint64_t drafted = 0, accepted = 0;
  for (const auto& [id, end] : harness.ends) {
    drafted += static_cast<uint64_t>(end.drafted_tokens);
    accepted += static_cast<uint64_t>(end.accepted_tokens);
  }
  const auto sum = [](const auto& counts) { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); };
  const MetricsData data = harness.metrics();
  EXPECT_GT(accepted, 0u);
  EXPECT_EQ(sum(data.spec_drafted_tokens), drafted);
  EXPECT_EQ(sum(data.spec_accepted_tokens), accepted);
  EXPECT_EQ(data.spec_drafted_tokens[3], 0u);
  EXPECT_GE(data.spec_drafted_tokens[0], data.spec_drafted_tokens[1]);
  EXPECT_GT(data.spec_accepted_tokens[0], data.spec_accepted_tokens[1]);
  EXPECT_EQ(harness.ends.at(1).drafted_tokens, 0);
}

TEST(EngineMetrics, WhatAutoChoseIsTold) {
  EngineOptions options = Unhurried();
  options.scheduler.max_drafts = 3;
  EngineHarness harness(options, {.draft_accuracy = 1.0});
  harness.Add(MakeRequest(1, MakePrompt(10), 500));
  int64_t most = 0;
  while (!harness.Step().idle()) most = std::max(most, harness.metrics().spec_k);
  EXPECT_GT(most, 0) << "each step takes as long as any other here, so drafts pay";
}

}  // namespace
}  // namespace latentd
