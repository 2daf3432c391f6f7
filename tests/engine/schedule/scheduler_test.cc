#include "engine/schedule/scheduler.h"

#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kUnbounded = 1 << 30;

TimePoint At(int second) { return TimePoint(seconds(1000 + second)); }

Request Generate(RequestId id, int num_prompt_tokens, int max_tokens) {
  Request request{.id = id, .received = At(0)};
  request.prompt.resize(static_cast<size_t>(num_prompt_tokens));
  // No two requests share anything unless a test wants it.
  std::iota(request.prompt.begin(), request.prompt.end(), static_cast<int32_t>(id) * 1000);
  request.stopping.max_tokens = max_tokens;
  return request;
}

Request Score(RequestId id, int num_prompt_tokens) {
  Request request = Generate(id, num_prompt_tokens, 0);
  request.kind = RequestKind::kScore;
  return request;
}

SchedulerOptions SmallOptions() {
  return {.cache = {.num_blocks = 11},
          .max_step_tokens = 100,
          .max_step_rows = 4,
          .max_step_logits = 4,
          .max_context_tokens = 640,
          .slow_consumer_seconds = 5};
}

// What a step of a model would do: the plan is computed, each row at its end gets one more token.
void Compute(Scheduler& scheduler, const BatchPlan& plan) {
  scheduler.Commit(plan);
  for (const PlannedRow& row : plan.rows) {
    if (row.sequence->request.kind == RequestKind::kGenerate && row.num_logits > 0) row.sequence->tokens.push_back(7);
  }
}

BatchPlan Plan(Scheduler& scheduler, TimePoint now, int budget) {
  BatchPlan plan;
  scheduler.Plan(now, {.tokens = budget}, plan);
  return plan;
}

// One step, as {id, first position, tokens, logits} of each row.
using Row = std::tuple<RequestId, int, int, int>;
std::vector<Row> Step(Scheduler& scheduler, TimePoint now = At(0), int budget = kUnbounded) {
  const BatchPlan plan = Plan(scheduler, now, budget);
  std::vector<Row> rows;
  for (const PlannedRow& row : plan.rows) {
    rows.emplace_back(row.sequence->request.id, row.first_position, row.num_tokens, row.num_logits);
  }
  Compute(scheduler, plan);
  return rows;
}

std::vector<std::pair<RequestId, FinishReason>> Ends(Scheduler& scheduler) {
  std::vector<std::pair<RequestId, FinishReason>> ends;
  for (const auto& sequence : scheduler.TakeFinished()) {
    EXPECT_EQ(sequence->blocks.num_blocks(), 0);
    ends.emplace_back(sequence->request.id, sequence->finish_reason);
  }
  return ends;
}

TEST(Scheduler, PrefillsThenDecodesOneTokenPerStep) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 5)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 10, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 10, 1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 11, 1, 1)));
}

TEST(Scheduler, RunningGoFirstAndTheRestOfTheBudgetPrefills) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 5)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 10, 1)));
  ASSERT_TRUE(scheduler.Add(Generate(2, 150, 5)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(3, 20, 5)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 10, 1, 1), Row(2, 0, 99, 0)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 11, 1, 1), Row(2, 99, 51, 1), Row(3, 0, 20, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 12, 1, 1), Row(2, 150, 1, 1), Row(3, 20, 1, 1)));
}

TEST(Scheduler, ChunkTokensBoundEachSequence) {
  SchedulerOptions options = SmallOptions();
  options.chunk_tokens = 7;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.Add(Generate(1, 15, 5)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(2, 8, 5)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 7, 0), Row(2, 0, 7, 0)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(2, 7, 1, 1), Row(1, 7, 7, 0)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(2, 8, 1, 1), Row(1, 14, 1, 1)));
}

TEST(Scheduler, TokenBudgetOfTheStepCuts) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 30, 5)).ok());
  EXPECT_THAT(Step(scheduler, At(0), 16), ElementsAre(Row(1, 0, 16, 0)));
  EXPECT_THAT(Step(scheduler, At(0), 16), ElementsAre(Row(1, 16, 14, 1)));
}

TEST(Scheduler, RowsBoundAdmission) {
  Scheduler scheduler(SmallOptions());
  for (RequestId id = 1; id <= 6; ++id) ASSERT_TRUE(scheduler.Add(Generate(id, 2, 5)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 2, 1), Row(2, 0, 2, 1), Row(3, 0, 2, 1), Row(4, 0, 2, 1)));
  EXPECT_EQ(scheduler.num_waiting(), 2);
  scheduler.Cancel(2);
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 2, 1, 1), Row(3, 2, 1, 1), Row(4, 2, 1, 1), Row(5, 0, 2, 1)));
}

TEST(Scheduler, LogitRowsBoundSampling) {
  SchedulerOptions options = SmallOptions();
  options.max_step_logits = 1;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.Add(Generate(1, 3, 5)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(2, 3, 5)).ok());
  // The second computes all but the token whose logits it can't have.
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 3, 1), Row(2, 0, 2, 0)));
  // From here on they take turns, because the one that waited longest goes first.
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 3, 1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(2, 2, 1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 4, 1, 1)));
}

TEST(Scheduler, ScoreWantsLogitsWhereverATokenFollows) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Score(1, 10)).ok());
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 4, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 4, 4, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 8, 2, 1)));
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  SchedulerOptions options = SmallOptions();
  options.cache.num_blocks = 4;
  Scheduler scheduler(options);
  const absl::Status too_large = scheduler.Add(Generate(1, 100, 94));
  EXPECT_EQ(too_large.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(too_large.message()), HasSubstr("need 4 cache blocks of 64 tokens, the cache has 3"));
  EXPECT_TRUE(scheduler.Add(Generate(1, 100, 93)).ok());
  EXPECT_EQ(scheduler.Add(Generate(2, 640, 1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler.Add(Generate(2, 0, 1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler.Add(Generate(2, 1, 0)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler.num_waiting(), 1);
}

TEST(Scheduler, ContextBoundsWhatARequestMayNeed) {
  Scheduler scheduler(SmallOptions());
  EXPECT_TRUE(scheduler.Add(Generate(1, 10, 1'000'000'000)).ok());
  EXPECT_TRUE(scheduler.Add(Score(2, 640)).ok());
  EXPECT_FALSE(scheduler.Add(Score(3, 641)).ok());
}

TEST(Scheduler, CancelReturnsBlocksAtOnceInEveryPhase) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 60)).ok());
  Step(scheduler);                                       // 1 decodes
  ASSERT_TRUE(scheduler.Add(Generate(2, 150, 5)).ok());  // 2 is in the middle of its prompt
  Step(scheduler);
  ASSERT_TRUE(scheduler.Add(Generate(3, 10, 5)).ok());  // 3 waits
  EXPECT_EQ(scheduler.cache().num_held(), 3);
  scheduler.Pause(1);
  EXPECT_EQ(scheduler.num_paused(), 1);
  scheduler.Cancel(1);
  EXPECT_EQ(scheduler.cache().num_held(), 2);
  scheduler.Cancel(2);
  EXPECT_EQ(scheduler.cache().num_held(), 0);
  scheduler.Cancel(3);
  scheduler.Cancel(3);   // late
  scheduler.Cancel(99);  // never was
  EXPECT_THAT(Ends(scheduler),
              ElementsAre(std::pair(1, FinishReason::kCancelled), std::pair(2, FinishReason::kCancelled),
                          std::pair(3, FinishReason::kCancelled)));
  EXPECT_THAT(Step(scheduler), IsEmpty());
}

TEST(Scheduler, WhatEndsInFlightKeepsItsBlocksUntilItsPlanIsCommitted) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 70, 60)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(2, 10, 60)).ok());
  const BatchPlan plan = Plan(scheduler, At(0), kUnbounded);
  scheduler.Cancel(1);
  EXPECT_EQ(scheduler.cache().num_held(), 3);
  EXPECT_THAT(Ends(scheduler), IsEmpty());
  EXPECT_EQ(plan.rows[0].sequence->request.id, 1u) << "the plan's rows still have their sequences";
  scheduler.Commit(plan);
  EXPECT_EQ(scheduler.cache().num_held(), 1);
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(1, FinishReason::kCancelled)));
}

TEST(Scheduler, ExpiryInFlightRetiresToo) {
  Scheduler scheduler(SmallOptions());
  Request request = Generate(1, 10, 60);
  request.deadline = At(1);
  ASSERT_TRUE(scheduler.Add(request).ok());
  const BatchPlan first = Plan(scheduler, At(0), kUnbounded);
  const BatchPlan second = Plan(scheduler, At(2), kUnbounded);
  EXPECT_THAT(second.rows, IsEmpty());
  EXPECT_EQ(scheduler.cache().num_held(), 1);
  EXPECT_THAT(Ends(scheduler), IsEmpty());
  scheduler.Commit(first);
  EXPECT_EQ(scheduler.cache().num_held(), 0);
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(1, FinishReason::kExpiredInPrefill)));
}

TEST(Scheduler, ASecondPlanGoesOnWhereTheFirstEnds) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 150, 5)).ok());
  const BatchPlan first = Plan(scheduler, At(0), kUnbounded);
  const BatchPlan second = Plan(scheduler, At(0), kUnbounded);
  ASSERT_THAT(second.rows, testing::SizeIs(1));
  EXPECT_EQ(second.rows[0].first_position, 100);
  EXPECT_EQ(second.rows[0].num_tokens, 50);
  EXPECT_THAT(Plan(scheduler, At(0), kUnbounded).rows, IsEmpty()) << "its next token is not known yet";
  EXPECT_EQ(scheduler.Commit(first), 100);
  scheduler.Cancel(1);
  EXPECT_EQ(scheduler.cache().num_held(), 3);
  EXPECT_EQ(scheduler.Commit(second), 0) << "nothing of it counts as computed";
  EXPECT_EQ(scheduler.cache().num_held(), 0);
  EXPECT_EQ(scheduler.num_pending_prompt_tokens(), 0);
}

TEST(Scheduler, APromptIsPendingUntilItsSequenceIsReleased) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 150, 5)).ok());
  const BatchPlan first = Plan(scheduler, At(0), kUnbounded);
  const BatchPlan second = Plan(scheduler, At(0), kUnbounded);
  scheduler.Cancel(1);
  EXPECT_EQ(scheduler.Commit(first), 0);
  EXPECT_THAT(Ends(scheduler), IsEmpty());
  EXPECT_EQ(scheduler.num_pending_prompt_tokens(), 150) << "computed, abandoned or pending: here the last";
  scheduler.Commit(second);
  EXPECT_EQ(scheduler.num_pending_prompt_tokens(), 0);
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(1, FinishReason::kCancelled)));
}

TEST(Scheduler, ARequestLeavesTheQueueOnce) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 60)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(2, 20, 60)).ok());
  std::vector<RequestId> departed;
  scheduler.Cancel(2);
  scheduler.TakeDepartures(departed);
  EXPECT_THAT(departed, ElementsAre(2u));
  Step(scheduler);
  scheduler.TakeDepartures(departed);
  EXPECT_THAT(departed, ElementsAre(1u));
  scheduler.Cancel(1);
  scheduler.TakeDepartures(departed);
  EXPECT_THAT(departed, IsEmpty());
}

TEST(Scheduler, CancelSaysForWhom) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 60)).ok());
  ASSERT_TRUE(scheduler.Add(Generate(2, 10, 60)).ok());
  scheduler.Cancel(1, FinishReason::kAborted);
  scheduler.Cancel(1, FinishReason::kCancelled);  // late
  scheduler.Cancel(2);
  EXPECT_THAT(Ends(scheduler),
              ElementsAre(std::pair(1, FinishReason::kAborted), std::pair(2, FinishReason::kCancelled)));
}

TEST(Scheduler, ExpiredWorkNeverReachesAPlan) {
  Scheduler scheduler(SmallOptions());
  Request decoding = Generate(1, 10, 60);
  decoding.deadline = At(10);
  ASSERT_TRUE(scheduler.Add(decoding).ok());
  Step(scheduler);
  Request prefilling = Generate(2, 400, 5);
  prefilling.deadline = At(10);
  ASSERT_TRUE(scheduler.Add(prefilling).ok());
  Step(scheduler);
  Request queued = Generate(3, 10, 5);
  queued.deadline = At(10);
  ASSERT_TRUE(scheduler.Add(queued).ok());
  EXPECT_EQ(scheduler.NextExpiry(), At(10));
  EXPECT_THAT(Step(scheduler, At(10)), IsEmpty());
  EXPECT_THAT(Ends(scheduler),
              ElementsAre(std::pair(1, FinishReason::kExpiredInDecode), std::pair(2, FinishReason::kExpiredInPrefill),
                          std::pair(3, FinishReason::kExpiredInQueue)));
  EXPECT_EQ(scheduler.cache().num_held(), 0);
  EXPECT_EQ(scheduler.NextExpiry(), kNever);
}

TEST(Scheduler, QueueDeadlineHoldsOnlyInTheQueue) {
  Scheduler scheduler(SmallOptions());
  Request first = Generate(1, 100, 5);
  first.queue_deadline = At(2);
  Request second = Generate(2, 100, 5);
  second.queue_deadline = At(2);
  ASSERT_TRUE(scheduler.Add(first).ok());
  ASSERT_TRUE(scheduler.Add(second).ok());
  EXPECT_THAT(Step(scheduler, At(1)), ElementsAre(Row(1, 0, 100, 1)));
  EXPECT_EQ(scheduler.NextExpiry(), At(2));
  EXPECT_THAT(Step(scheduler, At(2)), ElementsAre(Row(1, 100, 1, 1)));
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(2, FinishReason::kExpiredInQueue)));
}

TEST(Scheduler, PausedSequenceGetsNoRowsAndEndsAfterItsPatience) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 60)).ok());
  Step(scheduler);
  scheduler.Pause(1);
  EXPECT_THAT(Step(scheduler, At(1)), IsEmpty());
  EXPECT_EQ(scheduler.NextExpiry(), At(6));
  scheduler.Resume(1);
  EXPECT_EQ(scheduler.NextExpiry(), kNever);
  EXPECT_THAT(Step(scheduler, At(7)), ElementsAre(Row(1, 10, 1, 1)));
  scheduler.Pause(1);
  EXPECT_THAT(Step(scheduler, At(8)), IsEmpty());
  EXPECT_THAT(Step(scheduler, At(12)), IsEmpty());
  EXPECT_THAT(Ends(scheduler), IsEmpty());
  EXPECT_EQ(scheduler.cache().num_held(), 1);
  EXPECT_THAT(Step(scheduler, At(13)), IsEmpty());
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(1, FinishReason::kSlowConsumer)));
  EXPECT_EQ(scheduler.cache().num_held(), 0);
}

TEST(Scheduler, DeadlineHoldsWhilePaused) {
  Scheduler scheduler(SmallOptions());
  Request request = Generate(1, 10, 60);
  request.deadline = At(3);
  ASSERT_TRUE(scheduler.Add(request).ok());
  Step(scheduler);
  scheduler.Pause(1);
  EXPECT_THAT(Step(scheduler, At(1)), IsEmpty());
  EXPECT_THAT(Step(scheduler, At(3)), IsEmpty());
  EXPECT_THAT(Ends(scheduler), ElementsAre(std::pair(1, FinishReason::kExpiredInDecode)));
}

TEST(Scheduler, PauseOfWaitingOrUnknownIsNoOp) {
  Scheduler scheduler(SmallOptions());
  ASSERT_TRUE(scheduler.Add(Generate(1, 10, 60)).ok());
  scheduler.Pause(1);
  scheduler.Pause(2);
  scheduler.Resume(1);
  EXPECT_THAT(Step(scheduler), ElementsAre(Row(1, 0, 10, 1)));
}

TEST(Scheduler, ResumedSequencesShareTooFewRows) {
  SchedulerOptions options = SmallOptions();
  options.max_step_rows = 2;
  Scheduler scheduler(options);
  for (RequestId id = 1; id <= 3; ++id) {
    ASSERT_TRUE(scheduler.Add(Generate(id, 2, 50)).ok());
    Step(scheduler);
    if (id == 1) scheduler.Pause(1);
  }
  scheduler.Resume(1);
  int rows_of[4] = {};
  for (int step = 0; step < 30; ++step) {
    for (const Row& row : Step(scheduler)) ++rows_of[std::get<0>(row)];
  }
  EXPECT_THAT(rows_of, ElementsAre(0, 20, 20, 20));
}

TEST(Scheduler, WaitsAreCountedByWhatTheFirstInTheQueueLacked) {
  const auto waits_of = [](std::initializer_list<Request> requests, int budget, SchedulerOptions options) {
    Scheduler scheduler(options);
    for (const Request& request : requests) EXPECT_TRUE(scheduler.Add(request).ok());
    const BatchPlan plan = Plan(scheduler, At(0), budget);
    scheduler.CancelAll(FinishReason::kCancelled);
    return plan.waits;
  };
  SchedulerOptions one_row = SmallOptions();
  one_row.max_step_rows = 1;
  SchedulerOptions two_logits = SmallOptions();
  two_logits.max_step_logits = 2;
  SchedulerOptions three_blocks = SmallOptions();
  three_blocks.cache.num_blocks = 4;
  three_blocks.max_step_tokens = 300;
  const Request small = Generate(1, 10, 5), next = Generate(2, 10, 5), third = Generate(3, 10, 5);
  EXPECT_THAT(waits_of({small, next, third}, kUnbounded, one_row), ElementsAre(2, 0, 0, 0));
  EXPECT_THAT(waits_of({small, next, third}, 10, SmallOptions()), ElementsAre(0, 2, 0, 0));
  EXPECT_THAT(waits_of({Generate(1, 192, 1), next, third}, kUnbounded, three_blocks), ElementsAre(0, 0, 2, 0));
  EXPECT_THAT(waits_of({small, Score(2, 2), Score(3, 10)}, kUnbounded, two_logits), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(waits_of({small, next, third}, kUnbounded, SmallOptions()), ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace latentd
