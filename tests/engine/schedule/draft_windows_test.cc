// Which rows the layer follows that drafts, and what becomes of drafts in the lives of sequences.
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"
#include "tests/engine/schedule/drafting_steps.h"
#include "tests/engine/schedule/scheduler_steps.h"

namespace latentd {
namespace {

using namespace by_hand;  // NOLINT(google-build-using-namespace)
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// ------------------------------------------------------------------------------------------------------------ windows

TEST(DraftDealer, TheWindowBeginsBehindTheFirstPosition) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 150, 50, 2));
  steps.Step(At(0), 100);
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 0, 0)) << "a chunk is only stored";
  steps.Step(At(0), 100);
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 0));
  steps.num_right = 1;
  steps.Step();
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 0));
  const Sequence& sequence = *steps.plan.rows[0].sequence;
  EXPECT_EQ(sequence.drafted.from, 1);
  EXPECT_EQ(sequence.drafted.to, 153) << "slots up to that of the token drawn last, 152";
  EXPECT_EQ(sequence.computed, 152);
}

TEST(DraftDealer, AHoleBeginsANewWindow) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 10, 50, kAutoDrafts));
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  for (int i = 0; i < 3; ++i) steps.StepWith({.tokens = 1000});
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  EXPECT_EQ(FollowedOf(steps.plan), Followed(14, 2, 0));
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  EXPECT_EQ(FollowedOf(steps.plan), Followed(14, 2, 0));
}

TEST(DraftDealer, AHoleOfOneSlotIsFilled) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 10, 50, kAutoDrafts));
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  steps.StepWith({.tokens = 1000});
  EXPECT_THAT(steps.StepWith({.tokens = 1000, .auto_drafts = 2}), ElementsAre(Row(1, 0, 10, 2)));
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 1));
  EXPECT_EQ(steps.plan.rows[0].sequence->computed, 12);
  EXPECT_EQ(steps.scheduler.totals().recomputed_tokens, 0u) << "nothing was lost";
}

TEST(DraftDealer, ALastSlotWithoutABlockIsFilledLater) {
  Steps steps(WithDrafts(2, 2));
  steps.Add(Drafting(1, 64, 60, 2));
  steps.Add(Drafting(2, 10, 60, 0));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 0, 64)));
  EXPECT_EQ(steps.plan.rows[0].sequence->drafted.to, 64);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 63, 2)));
  EXPECT_EQ(steps.plan.rows[0].following->first_key, 1);
}

TEST(DraftDealer, NoTokenIsComputedAgainInAnothersPlace) {
  Steps steps(WithDrafts(2));
  for (RequestId id = 1; id <= 3; ++id) steps.Add(Drafting(id, 10, 50, kAutoDrafts));
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  steps.StepWith({.tokens = 1000});
  EXPECT_THAT(steps.SharesOf({.tokens = 4, .auto_drafts = 2}),
              ElementsAre(std::pair(1, 2), std::pair(2, 1), std::pair(3, 1)));
}

// Request 2 finds the 100 tokens of request 1, which is over, and has 10 more.
void AskAgain(Steps& steps, int drafts_of_first, int drafts) {
  steps.Add(Drafting(1, 100, 50, drafts_of_first));
  steps.Step();
  steps.Finish(1);
  Request again = Drafting(2, 1, 50, drafts);
  again.prompt = Tokens(1000, 110);
  steps.Add(again);
}

TEST(DraftDealer, AHitGoesOnWhereItsWindowEnds) {
  Steps steps(WithDrafts(2));
  AskAgain(steps, 2, 2);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 99, 11))) << "the last position found gives the next one's slot";
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 1));
  EXPECT_EQ(steps.plan.rows[0].sequence->computed, 110);
  EXPECT_EQ(steps.scheduler.totals().hit_tokens, 100u);
  EXPECT_EQ(steps.scheduler.num_pending_prompt_tokens(), 0);
}

TEST(DraftDealer, AHitWithoutTheLayersSlotsBeginsANewWindow) {
  Steps steps(WithDrafts(2));
  AskAgain(steps, 0, 2);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 100, 10)));
  EXPECT_EQ(FollowedOf(steps.plan), Followed(101, 2, 0));
}

TEST(DraftDealer, AHitThatIsNotToDraftComputesNothingAgain) {
  Steps steps(WithDrafts(2));
  AskAgain(steps, 2, 0);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 100, 10)));
}

TEST(DraftDealer, AStepFullOfAPromptStillComputesTheLastFoundPositionAgain) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 100, 50, 2));
  steps.Step();
  steps.Finish(1);
  Request again = Drafting(2, 1, 50, 2);
  again.prompt = Tokens(1000, 150);
  steps.Add(again);
  EXPECT_THAT(steps.Step(At(0), 20), ElementsAre(Row(2, 0, 99, 20)));
  EXPECT_EQ(steps.plan.num_tokens, 20);
  EXPECT_THAT(steps.Step(At(0), 20), ElementsAre(Row(2, 0, 119, 20)));
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 0, 0));
}

TEST(DraftDealer, ATwinWithoutTheLayersSlotsCostsThem) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 130, 50, 0));
  Request twin = Drafting(2, 1, 50, 2);
  twin.prompt = Tokens(1000, 130);
  steps.Add(twin);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 0, 130), Row(2, 0, 0, 130)));
  const Sequence& sequence = *steps.plan.rows[1].sequence;
  EXPECT_EQ(sequence.drafted.from, 128);
  EXPECT_EQ(sequence.drafted.to, 131);
  steps.Step();
  EXPECT_EQ(steps.plan.rows[1].following->first_key, 128);
}

// ------------------------------------------------------------------------------------------------------- lives of rows

TEST(DraftDealer, ASequenceWithDraftsInFlightGetsNoSecondRow) {
  Steps steps(WithDrafts(2));
  steps.num_right = 1;
  steps.Add(Drafting(1, 10, 50, 2));
  steps.Step();
  BatchPlan first, second;
  steps.scheduler.Plan(At(0), {.tokens = 1000}, first);
  EXPECT_EQ(first.rows[0].num_drafts, 2);
  EXPECT_TRUE(steps.scheduler.CheckInvariants().ok()) << steps.scheduler.CheckInvariants();
  steps.Add(Drafting(2, 10, 50, 2));
  steps.scheduler.Plan(At(0), {.tokens = 1000}, second);
  ASSERT_EQ(second.rows.size(), 1u);
  EXPECT_EQ(second.rows[0].sequence->request.id, 2u);
  steps.Commit(first);
  steps.Commit(second);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 12, 3), Row(2, 0, 10, 3)));
}

TEST(DraftDealer, ASecondChunkInFlightGoesOnWithTheWindowOfTheFirst) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 192, 50, 2));
  BatchPlan first, second;
  steps.scheduler.Plan(At(0), {.tokens = 100}, first);
  steps.scheduler.Plan(At(0), {.tokens = 100}, second);
  EXPECT_EQ(FollowedOf(first), Followed(1, 0, 0));
  EXPECT_EQ(FollowedOf(second), Followed(1, 2, 0));
  steps.Commit(first);
  steps.Commit(second);
  const Sequence& sequence = *first.rows[0].sequence;
  EXPECT_EQ(sequence.drafted.from, 1);
  EXPECT_EQ(sequence.drafted.to, 193);
}

TEST(DraftDealer, WhatEndsWithDraftsInFlightCommitsNone) {
  Steps steps(WithDrafts(2));
  steps.num_right = 2;
  steps.Add(Drafting(1, 10, 50, 2));
  steps.Step();
  steps.scheduler.Plan(At(0), {.tokens = 1000}, steps.plan);
  steps.scheduler.Cancel(1);
  steps.Commit(steps.plan);
  const auto finished = steps.scheduler.TakeFinished();
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0]->num_generated(), 1);
  EXPECT_EQ(finished[0]->drafted_tokens, 0);
  EXPECT_EQ(steps.scheduler.cache().num_held(), 0);
}

TEST(DraftDealer, APauseKeepsDraftsAndAPreemptionDropsThem) {
  SchedulerOptions options = WithDrafts(2);
  options.max_step_rows = 1;
  Steps steps(options);
  steps.Add(Drafting(1, 10, 50, 2));
  steps.Step();
  const Sequence& sequence = *steps.plan.rows[0].sequence;
  steps.scheduler.Pause(1);
  EXPECT_THAT(steps.Step(), IsEmpty());
  steps.scheduler.Resume(1);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 3)));
  Request urgent = Drafting(2, 10, 1, 0);
  urgent.scheduling.priority = 1;
  steps.Add(urgent);
  EXPECT_EQ(sequence.num_drafts, 2);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 10)));
  EXPECT_EQ(sequence.num_drafts, 0);
  EXPECT_EQ(sequence.num_tokens(), 12);
  steps.Finish(2);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 2))) << "with the window that it left behind";
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 1));
  EXPECT_EQ(sequence.computed, 12);
}

TEST(DraftDealer, EachContinuationHasItsOwn) {
  Steps steps(WithDrafts(2));
  Request request = Drafting(1, 70, 50, 2);
  request.num_sequences = 3;
  steps.Add(request);
  steps.Step();
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 70, 3), Row(1, 1, 68, 2), Row(1, 2, 68, 2)))
      << "they find all of the prompt but its last position, and go on with its window";
  EXPECT_EQ(steps.plan.rows[1].following->first_key, 1);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 71, 3), Row(1, 1, 70, 3), Row(1, 2, 70, 3)));
  EXPECT_THAT(steps.plan.rows[2].sequence->drafts(), ElementsAre(9, 9));
  EXPECT_THAT(steps.plan.rows[0].sequence->drafts(), ElementsAre(7, 7));
}

}  // namespace
}  // namespace latentd
