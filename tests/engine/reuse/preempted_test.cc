// A sequence that loses its place, at whatever step and however often, gets the logits of one that keeps it, whether it
// finds again what it had computed, finds a part of it, or computes all again.
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/each_kind.h"

namespace latentd {
namespace {

constexpr int kChunk = 20, kBlocks = 4;
// 4 steps of the prompt and 61 more: from its second block into its third.
constexpr int kPrompt = 70, kGenerated = 62, kLastStep = 64;

class Preempted : public EachKind {
 protected:
  std::vector<int> Steps() const { return Counts(kLastStep, {1, 3, 4, 5, 40, 62, kLastStep}); }
  Request Victim() { return Draw(1, Ids(kPrompt), kGenerated); }
};

void RunTo(EngineRun& run, const Request& victim, int step) {
  run.Add(victim);
  for (int i = 0; i < step; ++i) ASSERT_TRUE(run.Step());
  ASSERT_FALSE(run.has_ended(victim.id));
}

// One row, and the blocks of one request and little more.
constexpr RunLimits kOneRow = {.num_blocks = kBlocks, .max_rows = 1, .chunk_tokens = kChunk};

TEST_P(Preempted, OnceAtEachStepAndFindsAllAgain) {
  const Request victim = Victim();
  const Answer cold = model_.Cold(victim);
  for (const int step : Steps()) {
    EngineRun run(model_, kOneRow);
    RunTo(run, victim, step);
    run.Interrupt(Ids(1));
    run.RunToEnd();
    EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), 1u);
    EXPECT_EQ(run.scheduler().totals().recomputed_tokens, 0u);
    EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), cold)) << "at step " << step;
  }
}

TEST_P(Preempted, OnceAtEachStepAndLosesSomeBlocks) {
  const Request victim = Victim();
  const Answer cold = model_.Cold(victim);
  for (const int step : Steps()) {
    EngineRun run(model_, kOneRow);
    RunTo(run, victim, step);
    run.Interrupt(Ids((kBlocks - 1) * kBlockSlots));
    run.RunToEnd();
    EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), 1u);
    EXPECT_EQ(run.scheduler().totals().recomputed_tokens > 0, step >= 4) << "it had more than one block";
    EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), cold)) << "at step " << step;
  }
}

TEST_P(Preempted, OnceAtEachStepAndFindsNothing) {
  const Request victim = Victim();
  const Answer cold = model_.Cold(victim);
  for (const int step : Steps()) {
    EngineRun run(model_, kOneRow);
    RunTo(run, victim, step);
    run.Interrupt(Ids(1));
    EXPECT_GT(run.engine().FlushPrefixCache(), 0);
    run.RunToEnd();
    EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), 1u);
    EXPECT_GE(run.scheduler().totals().recomputed_tokens, static_cast<uint64_t>(kChunk));
    EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), cold)) << "at step " << step;
  }
}

TEST_P(Preempted, AfterEveryStep) {
  const Request victim = Victim();
  EngineRun run(model_, kOneRow);
  run.Add(victim);
  uint64_t num_preemptions = 0;
  while (run.Step() && !run.has_ended(victim.id)) {
    ++num_preemptions;
    run.Interrupt(Ids(num_preemptions % 16 == 0 ? (kBlocks - 1) * kBlockSlots : 1));
    if (num_preemptions % 24 == 0) run.engine().FlushPrefixCache();
  }
  EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), num_preemptions);
  EXPECT_GE(num_preemptions, static_cast<uint64_t>(kLastStep));
  EXPECT_GT(run.scheduler().totals().recomputed_tokens, 0u);
  EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), model_.Cold(victim)));
}

TEST_P(Preempted, ScoreAtEachOfItsSteps) {
  const Request victim = Score(1, Ids(130));
  const Answer cold = model_.Cold(victim);
  for (int step = 1; step <= 130 / kChunk; ++step) {
    for (const bool is_flushed : {false, true}) {
      EngineRun run(model_, kOneRow);
      RunTo(run, victim, step);
      run.Interrupt(Ids(1));
      if (is_flushed) run.engine().FlushPrefixCache();
      run.RunToEnd();
      EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), 1u);
      EXPECT_EQ(run.scheduler().totals().recomputed_tokens > 0, is_flushed);
      EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), cold)) << "at step " << step;
    }
  }
}

TEST_P(Preempted, WhilePaused) {
  const Request victim = Victim();
  const Answer cold = model_.Cold(victim);
  for (const int step : Steps()) {
    EngineRun run(model_, kOneRow);
    RunTo(run, victim, step);
    run.engine().Pause(victim.id);
    run.Add(Draw(2, Ids(kBlocks * kBlockSlots - 10), 2));
    run.RunToEnd();
    ASSERT_TRUE(run.has_ended(2));
    ASSERT_FALSE(run.has_ended(victim.id));
    EXPECT_EQ(run.preemptions(PreemptionReason::kBlocks), 1u);
    run.engine().Resume(victim.id);
    run.RunToEnd();
    EXPECT_TRUE(SameAnswer(run.AnswerOf(victim.id), cold)) << "at step " << step;
  }
}

TEST_P(Preempted, ByOneThatNeedsItsBlocksToGoOn) {
  EngineRun run(model_, {.num_blocks = kBlocks, .max_rows = 2, .chunk_tokens = kChunk});
  const Request first = Victim(), second = Draw(2, Ids(kPrompt - 3), kGenerated), score = Score(3, Ids(150));
  for (const Request& request : {first, second, score}) run.Add(request);
  run.RunToEnd();
  EXPECT_GT(run.preemptions(PreemptionReason::kBlocks), 0u);
  EXPECT_GT(run.scheduler().totals().recomputed_tokens, 0u);
  for (const Request& request : {first, second, score}) {
    EXPECT_TRUE(SameAnswer(run.AnswerOf(request.id), model_.Cold(request))) << "request " << request.id;
  }
}

LATENTD_TEST_EACH_KIND(Preempted);

}  // namespace
}  // namespace latentd
