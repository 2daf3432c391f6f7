// The engine's loop turn by turn, without a thread: commands in, output and the queue's account out.
#include "engine/loop/engine_loop.h"

#include <array>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/step/engine_harness.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class EngineLoopTest : public testing::Test {
 protected:
  EngineLoopTest() : EngineLoopTest(SmallEngine()) {}
  explicit EngineLoopTest(const EngineOptions& options)
      : executor_({.num_blocks = options.scheduler.cache.num_blocks}),
        loop_(std::make_unique<Engine>(executor_, options, metrics_), clock_) {}

  void Submit(RequestId id, int prompt_tokens, int max_tokens) {
    auto stream = std::make_shared<TokenStream>(nullptr, 1 << 20);
    Request request = MakeRequest(id, MakePrompt(prompt_tokens), max_tokens);
    request.received = clock_.Now();
    commands_.submissions.push_back({.request = std::move(request), .stream = std::move(stream)});
  }

  void Run() { loop_.Run(std::exchange(commands_, {}), turn_); }

  ManualClock clock_;
  Metrics metrics_;
  FakeExecutor executor_;
  EngineLoop loop_;
  Commands commands_;
  Turn turn_;
};

TEST_F(EngineLoopTest, ATurnOpensStreamsAndGivesTheStepsOutput) {
  Submit(7, 10, 2);
  Run();
  ASSERT_THAT(turn_.opened, SizeIs(1));
  EXPECT_EQ(turn_.opened[0].id, 7u);
  ASSERT_THAT(turn_.output.sequences, SizeIs(1));
  EXPECT_THAT(turn_.output.ends, IsEmpty());
  EXPECT_THAT(turn_.left_queue, ElementsAre(7u));
  Run();
  EXPECT_THAT(turn_.opened, IsEmpty());
  EXPECT_THAT(turn_.output.ends, SizeIs(1));
  EXPECT_THAT(turn_.left_queue, IsEmpty());
  EXPECT_FALSE(turn_.idle);
  Run();
  EXPECT_TRUE(turn_.idle);
  EXPECT_EQ(turn_.next_expiry, kNever);
}

TEST_F(EngineLoopTest, WhatEndsInTheQueueLeavesItOnce) {
  Submit(1, 10, 5);
  Submit(2, 20, 5);
  commands_.of_requests[2].end = FinishReason::kCancelled;
  Run();
  EXPECT_THAT(turn_.left_queue, UnorderedElementsAre(1u, 2u));
  commands_.of_requests[1].end = FinishReason::kCancelled;
  Run();
  EXPECT_THAT(turn_.left_queue, IsEmpty()) << "it had left the queue with its first rows";
}

TEST_F(EngineLoopTest, ATurnTellsTheMeasuredRate) {
  EngineOptions options = SmallEngine();
  options.step.tokens_per_second = 1000.0;
  EngineLoop loop(std::make_unique<Engine>(executor_, options, metrics_), clock_);
  loop.Run({}, turn_);
  EXPECT_EQ(turn_.tokens_per_second, 1000.0);
}

TEST_F(EngineLoopTest, FlushTellsWhatItFreedAndTheMetricsFollow) {
  Submit(1, 10, 2);
  for (int turn = 0; turn < 3; ++turn) Run();
  EXPECT_EQ(metrics_.Snapshot().kv_blocks_cached, 1);
  int64_t freed = -1;
  commands_.flush.push_back([&freed](int64_t blocks) { freed = blocks; });
  Run();
  EXPECT_EQ(freed, 1);
  EXPECT_EQ(metrics_.Snapshot().kv_blocks_cached, 0);
}

TEST_F(EngineLoopTest, SnapshotHasTheBlocksThatCanBeFound) {
  Submit(1, 70, 2);
  for (int turn = 0; turn < 3; ++turn) Run();
  std::vector<KvEvent> snapshot;
  commands_.kv_snapshots.push_back([&snapshot](std::vector<KvEvent> events) { snapshot = std::move(events); });
  Run();
  ASSERT_THAT(snapshot, SizeIs(2));
  EXPECT_EQ(snapshot[0].kind, KvEvent::Kind::kCleared);
  EXPECT_EQ(snapshot[1].kind, KvEvent::Kind::kStored);
  EXPECT_EQ(PartsOfSalt(snapshot[1].salt).salt, "");
  EXPECT_EQ(snapshot[1].number, 2u) << "as many events as there were";
}

TEST_F(EngineLoopTest, SequencesAreCancelledByTheirIndexAndOthersAreNot) {
  Submit(1, 10, 50);
  commands_.submissions[0].request.num_sequences = 3;
  Run();
  Run();
  EXPECT_THAT(turn_.output.sequences, SizeIs(3));
  commands_.of_requests[1].cancelled = {1};
  Run();
  ASSERT_THAT(turn_.output.ends, SizeIs(1));
  EXPECT_EQ(turn_.output.ends[0].id, (SequenceId{.request = 1, .index = 1}));
  EXPECT_THAT(turn_.output.sequences, SizeIs(2));
  commands_.of_requests[1].cancelled = {1, 7};
  Run();
  EXPECT_THAT(turn_.output.ends, IsEmpty()) << "it had that one once, and never the other";
  commands_.of_requests[1].cancelled = {0};
  commands_.of_requests[1].end = FinishReason::kAborted;
  Run();
  ASSERT_THAT(turn_.output.ends, SizeIs(2));
  EXPECT_EQ(turn_.output.ends[0].reason, FinishReason::kCancelled) << "asked for first";
  EXPECT_EQ(turn_.output.ends[1].reason, FinishReason::kAborted);
}

TEST_F(EngineLoopTest, CommandsOfOneTurnAreDoneBeforeItsStep) {
  Submit(1, 10, 50);
  Run();
  commands_.of_requests[1].reader = ReaderState::kFull;
  Run();
  EXPECT_EQ(turn_.output.num_rows, 0);
  EXPECT_TRUE(turn_.idle);
  commands_.of_requests[1].reader = ReaderState::kCaughtUp;
  Run();
  EXPECT_EQ(turn_.output.num_rows, 1);
}

TEST_F(EngineLoopTest, AnIdleTurnSaysWhenTheNextRequestExpires) {
  Submit(1, 10, 50);
  commands_.submissions[0].request.deadline = clock_.Now() + std::chrono::seconds(3);
  Run();
  commands_.of_requests[1].reader = ReaderState::kFull;
  Run();
  EXPECT_EQ(turn_.next_expiry, clock_.Now() + std::chrono::seconds(3));
  clock_.Advance(std::chrono::seconds(3));
  Run();
  ASSERT_THAT(turn_.output.ends, SizeIs(1));
  EXPECT_EQ(turn_.output.ends[0].reason, FinishReason::kExpiredInDecode);
}

TEST_F(EngineLoopTest, CommandsActOnAStepInFlight) {
  Submit(1, 10, 50);
  loop_.Begin(std::exchange(commands_, {}));
  Submit(2, 20, 50);
  commands_.of_requests[1].end = FinishReason::kCancelled;
  loop_.Apply(std::exchange(commands_, {}));
  int num_holders = 0;
  loop_.engine().scheduler().ForEachHolder([&num_holders](const Sequence&) { ++num_holders; });
  EXPECT_EQ(num_holders, 2);
  EXPECT_EQ(loop_.engine().scheduler().cache().num_held(), 1) << "the step writes into it";
  loop_.Complete(turn_);
  EXPECT_THAT(turn_.opened, SizeIs(2));
  EXPECT_THAT(turn_.output.sequences, IsEmpty());
  ASSERT_THAT(turn_.output.ends, SizeIs(1));
  EXPECT_EQ(turn_.output.ends[0].id.request, 1u);
  EXPECT_EQ(turn_.output.ends[0].reason, FinishReason::kCancelled);
  EXPECT_THAT(turn_.left_queue, ElementsAre(1u));
  EXPECT_EQ(loop_.engine().scheduler().cache().num_held(), 0);
  Run();
  ASSERT_THAT(turn_.output.sequences, SizeIs(1));
  EXPECT_EQ(turn_.output.sequences[0].id.request, 2u);
}

TEST_F(EngineLoopTest, ATurnIsNotIdleIfCommandsCameDuringIt) {
  loop_.Begin({});
  Submit(1, 10, 50);
  loop_.Apply(std::exchange(commands_, {}));
  loop_.Complete(turn_);
  EXPECT_EQ(turn_.output.num_rows, 0);
  EXPECT_FALSE(turn_.idle);
  Run();
  EXPECT_EQ(turn_.output.num_rows, 1);
}

TEST_F(EngineLoopTest, ATurnRecordsItsStepAndTheTime) {
  Submit(1, 8, 50);
  Submit(2, 8, 50);
  Run();
  clock_.Advance(std::chrono::seconds(2));
  Run();
  const FlightRecorder& recorder = loop_.engine().scheduler().recorder();
  std::vector<FlightEntry> steps = recorder.Before(recorder.num_recorded(), 1000);
  std::erase_if(steps, [](const FlightEntry& entry) { return entry.decision != FlightDecision::kStep; });
  ASSERT_THAT(steps, SizeIs(2));
  EXPECT_EQ(steps[0].numbers, (std::array<int32_t, 4>{2, 16, 0, 0}));
  EXPECT_EQ(steps[1].numbers, (std::array<int32_t, 4>{2, 2, 0, 2}));
  EXPECT_EQ(steps[1].nanoseconds - steps[0].nanoseconds, 2'000'000'000);
}

TEST_F(EngineLoopTest, AStepThatNoOneCompletedBlocksTheNext) {
  loop_.Begin({});
  EXPECT_DEATH(loop_.Begin({}), "has_begun_");
}

}  // namespace
}  // namespace latentd
