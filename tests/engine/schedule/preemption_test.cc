// Growth block by block, preemption and reuse of prefixes, as a Scheduler does them.
#include <chrono>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"
#include "tests/engine/schedule/scheduler_steps.h"

namespace latentd {
namespace {

using namespace by_hand;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST(Scheduler, TakesBlocksAsItsSequencesGrow) {
  Steps steps(WithBlocks(10));
  steps.Add(Generate(1, 10, 600));
  steps.Step();
  EXPECT_EQ(steps.scheduler.cache().num_held(), 1);
  for (int i = 0; i < 54; ++i) steps.Step();
  EXPECT_EQ(steps.scheduler.cache().num_held(), 1);
  steps.Step();
  EXPECT_EQ(steps.scheduler.cache().num_held(), 2);
}

TEST(Scheduler, LowestRankedGivesItsBlocksUp) {
  Steps steps(WithBlocks(4));
  steps.Add(Generate(1, 100, 150));
  steps.Add(Generate(2, 100, 150));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 0, 100), Row(2, 0, 0, 64))) << "one block stays for those that run";
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 100, 1), Row(2, 0, 64, 36)));
  for (int i = 0; i < 27; ++i) EXPECT_THAT(steps.Step(), SizeIs(2));
  // Both need a third block.
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 128, 1)));
  EXPECT_EQ(steps.preemptions(PreemptionReason::kBlocks), 1u);
  EXPECT_EQ(steps.scheduler.num_waiting(), 1);
  steps.Finish(1);
  // What it had computed was not evicted but for the one block that the other took.
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 64, 64)));
  EXPECT_EQ(steps.scheduler.totals().recomputed_tokens, 63u);
  EXPECT_EQ(steps.scheduler.totals().hit_tokens, 0u) << "what it had itself is no hit";
}

TEST(Scheduler, PreemptedSequenceGoesOnWithItsTokens) {
  Steps steps(WithBlocks(4));
  steps.Add(Generate(1, 100, 150));
  steps.Add(Generate(2, 100, 150));
  for (int i = 0; i < 30; ++i) steps.Step();
  steps.Finish(1);
  steps.Step();
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 128, 1)));
}

TEST(Scheduler, OneRequestThatJustFitsRunsToItsEndWhateverElseWaits) {
  Steps steps(WithBlocks(3));
  steps.Add(Generate(1, 64, 129));
  for (RequestId id = 2; id <= 5; ++id) steps.Add(Generate(id, 64, 129));
  int num_tokens = 0;
  for (int i = 0; i < 129; ++i) {
    for (const Row& row : steps.Step()) num_tokens += std::get<0>(row) == 1 ? std::get<3>(row) : 0;
  }
  EXPECT_EQ(num_tokens, 64 + 128);
}

TEST(Scheduler, EndedPromptIsFoundAgainButForItsLastToken) {
  Steps steps(WithBlocks(10));
  steps.Add(WithPrompt(1, Tokens(0, 200)));
  steps.Step();
  steps.Finish(1);
  EXPECT_EQ(steps.scheduler.cache().num_held(), 0);
  steps.Add(WithPrompt(2, Tokens(0, 200)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 199, 1)));
  EXPECT_THAT(steps.plan.copies, SizeIs(1));
  EXPECT_EQ(steps.plan.copies[0].num_slots, 199 % kBlockSlots);
  EXPECT_EQ(steps.scheduler.totals().hit_tokens, 199u);
  EXPECT_EQ(steps.scheduler.totals().queried_tokens, 400u);
}

TEST(Scheduler, PromptOfARunningSequenceIsFoundToo) {
  Steps steps(WithBlocks(10));
  steps.Add(WithPrompt(1, Tokens(0, 100), 50));
  steps.Step();
  steps.Add(WithPrompt(2, Tokens(0, 100), 50));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 100, 1), Row(2, 0, 99, 1)));
}

TEST(Scheduler, SaltsAndTenantsShareNothing) {
  Steps steps(WithBlocks(15));
  steps.Add(WithPrompt(1, Tokens(0, 100)));
  steps.Step();
  Request salted = WithPrompt(2, Tokens(0, 100));
  salted.cache.salt = "s";
  steps.Add(salted);
  Request other = WithPrompt(3, Tokens(0, 100));
  other.scheduling.tenant = "t";
  steps.Add(other);
  EXPECT_THAT(steps.Step(), UnorderedElementsAre(Row(1, 0, 100, 1), Row(2, 0, 0, 100), Row(3, 0, 0, 100)));
  EXPECT_EQ(steps.scheduler.totals().lost_tokens[static_cast<size_t>(PrefixLoss::kSalt)], 128u);
}

TEST(Scheduler, NoStoreLeavesNothingAndBypassReadsNothing) {
  Steps steps(WithBlocks(10));
  Request unstored = WithPrompt(1, Tokens(0, 100));
  unstored.cache.stores = false;
  steps.Add(unstored);
  steps.Step();
  steps.Finish(1);
  EXPECT_EQ(steps.scheduler.cache().num_cached(), 0);
  steps.Add(WithPrompt(2, Tokens(0, 100)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 100)));
  steps.Finish(2);
  Request bypassing = WithPrompt(3, Tokens(0, 100));
  bypassing.cache.reads = false;
  steps.Add(bypassing);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(3, 0, 0, 100)));
}

TEST(Scheduler, ScoreComputesEveryPositionWhoseLogitsItWants) {
  Steps steps(WithBlocks(10));
  steps.Add(WithPrompt(1, Tokens(0, 5)));
  steps.Step();
  Request score = WithPrompt(2, Tokens(0, 5));
  score.kind = RequestKind::kScore;
  steps.Add(score);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 5, 1), Row(2, 0, 0, 5)));
}

TEST(Scheduler, ContinuationsShareOnePrefill) {
  Steps steps(WithBlocks(10));
  Request request = WithPrompt(1, Tokens(0, 100), 50);
  request.num_sequences = 3;
  steps.Add(request);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 0, 100)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 100, 1), Row(1, 1, 99, 1), Row(1, 2, 99, 1)));
  EXPECT_EQ(steps.scheduler.cache().num_held(), 1 + 3) << "the full block once, a tail each";
  std::vector<RequestId> departed;
  steps.scheduler.TakeDepartures(departed);
  EXPECT_THAT(departed, ElementsAre(1u));
  EXPECT_EQ(steps.scheduler.totals().hit_tokens, 0u);
  steps.scheduler.CancelSequence({.request = 1, .index = 0});
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 1, 100, 1), Row(1, 2, 100, 1)));
  steps.Finish(1);
  EXPECT_THAT(steps.scheduler.TakeFinished(), SizeIs(3));
}

TEST(Scheduler, ContinuationsOfAPrivateRequestShareIt) {
  SchedulerOptions options = WithBlocks(10);
  options.prefix_cache = PrefixCacheMode::kOff;
  Steps steps(options);
  Request request = WithPrompt(1, Tokens(0, 100), 50);
  request.num_sequences = 2;
  steps.Add(request);
  steps.Step();
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 100, 1), Row(1, 1, 99, 1)));
  steps.Add(WithPrompt(2, Tokens(0, 100)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 101, 1), Row(1, 1, 100, 1), Row(2, 0, 0, 100)));
  steps.Finish(1);
  steps.Finish(2);
  EXPECT_EQ(steps.scheduler.cache().num_cached(), 0);
}

TEST(Scheduler, NonFiniteLogitsEndAllContinuationsAndLeaveNothing) {
  Steps steps(WithBlocks(10));
  Request request = WithPrompt(1, Tokens(0, 100), 50);
  request.num_sequences = 4;
  steps.Add(request);
  steps.Step();
  steps.Step();
  steps.scheduler.Finish(*steps.plan.rows[1].sequence, FinishReason::kNonFiniteLogits);
  EXPECT_THAT(steps.scheduler.TakeFinished(), SizeIs(4));
  EXPECT_EQ(steps.scheduler.cache().num_cached(), 0);
  EXPECT_TRUE(steps.scheduler.CheckInvariants().ok());
}

TEST(Scheduler, PausedSequencesMakeRoomForWhatWaits) {
  Steps steps(WithBlocks(4));
  steps.Add(Generate(1, 200, 50));
  steps.Step();
  steps.scheduler.Pause(1);
  steps.Add(Generate(2, 100, 50));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 100)));
  EXPECT_EQ(steps.scheduler.num_paused(), 1);
  steps.Finish(2);
  EXPECT_THAT(steps.Step(), IsEmpty()) << "it is paused, without blocks";
  steps.scheduler.Resume(1);
  EXPECT_THAT(steps.Step(), SizeIs(1));
}

TEST(Scheduler, APromptThatIsFoundTakesNoTime) {
  Steps steps(WithBlocks(10));
  const StepAllowance allowance = {.tokens = 1000, .tokens_per_second = 100};
  steps.Add(WithPrompt(1, Tokens(0, 200)));
  steps.scheduler.Plan(At(0), allowance, steps.plan);
  steps.scheduler.Commit(steps.plan);
  steps.Finish(1);
  for (const auto& [id, prompt] : {std::pair(2, Tokens(0, 200)), std::pair(3, Tokens(5000, 200))}) {
    Request request = WithPrompt(static_cast<RequestId>(id), prompt);
    request.scheduling.first_token_by = At(1);
    steps.Add(request);
  }
  EXPECT_EQ(steps.scheduler.NextExpiry(), At(-1)) << "each takes two seconds, for all that is known";
  steps.scheduler.Plan(At(0), allowance, steps.plan);
  ASSERT_THAT(steps.plan.rows, SizeIs(1));
  EXPECT_EQ(steps.plan.rows[0].sequence->request.id, 2u);
  EXPECT_EQ(steps.plan.rows[0].first_position, 199);
  steps.scheduler.Commit(steps.plan);
  const auto finished = steps.scheduler.TakeFinished();
  ASSERT_THAT(finished, SizeIs(2));
  EXPECT_EQ(finished[1]->request.id, 3u);
  EXPECT_EQ(finished[1]->finish_reason, FinishReason::kSloUnattainable);
}

TEST(Scheduler, FlushForgetsWhatIsNotHeld) {
  Steps steps(WithBlocks(10));
  steps.Add(WithPrompt(1, Tokens(0, 130)));
  steps.Step();
  steps.Finish(1);
  EXPECT_EQ(steps.scheduler.FlushPrefixCache(), 3);
  steps.Add(WithPrompt(2, Tokens(0, 130)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 130)));
}

TEST(Scheduler, KeptConversationOutlivesOthers) {
  Steps steps(WithBlocks(6));
  Request kept = WithPrompt(1, Tokens(0, 129));
  kept.cache.keep_seconds = 10;
  steps.Add(kept);
  steps.Step();
  steps.Finish(1);
  for (RequestId id = 2; id <= 6; ++id) {
    steps.Add(Generate(id, 129, 5));
    steps.Step();
    steps.Finish(id);
  }
  steps.Add(WithPrompt(7, Tokens(0, 129)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(7, 0, 128, 1)));
}

TEST(Scheduler, WhatLeavesNothingTakesNoRoomOfWhatIsKept) {
  Steps steps(WithBlocks(5));
  Request kept = WithPrompt(1, Tokens(0, 129));
  kept.cache.keep_seconds = 10;
  Request unstored = Generate(2, 65, 5);
  unstored.cache = {.stores = false, .keep_seconds = 20};
  for (const Request& request : {kept, unstored, Generate(3, 65, 5), Generate(4, 65, 5)}) {
    steps.Add(request);
    steps.Step();
    steps.Finish(request.id);
  }
  steps.Add(WithPrompt(5, Tokens(0, 129)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(5, 0, 128, 1)));
}

TEST(Scheduler, TellsWhatOthersCanFind) {
  Steps steps(WithBlocks(10));
  steps.Add(WithPrompt(1, Tokens(0, 130)));
  Request unstored = WithPrompt(2, Tokens(500, 130));
  unstored.cache.stores = false;
  steps.Add(unstored);
  steps.Step();
  EXPECT_EQ(steps.scheduler.kv_events().From(1, 1)[0].kind, KvEvent::Kind::kCleared);
  const std::vector<KvEvent> stored = steps.scheduler.kv_events().From(2, 100);
  ASSERT_THAT(stored, SizeIs(2)) << "full blocks, and none of a request that leaves nothing";
  EXPECT_EQ(stored[0].token_ids[63], 63);
  EXPECT_EQ(stored[1].parent, stored[0].hash);
  steps.Finish(1);
  steps.Finish(2);
  steps.scheduler.FlushPrefixCache();
  EXPECT_EQ(steps.scheduler.kv_events().From(4, 100).back().kind, KvEvent::Kind::kCleared);
}

}  // namespace
}  // namespace latentd
