// Drafts that a Scheduler plans to be verified, and what they may take.
#include "engine/schedule/draft_dealer.h"

#include <numeric>
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
using ::testing::Each;
using ::testing::ElementsAre;

// {id, drafts} of each row of the last step.
std::vector<std::pair<RequestId, int>> DraftsOf(const Steps& steps) {
  std::vector<std::pair<RequestId, int>> drafts;
  for (const PlannedRow& row : steps.plan.rows) drafts.emplace_back(row.sequence->request.id, row.num_drafts);
  return drafts;
}

int NumDrafts(const BatchPlan& plan) {
  return std::accumulate(plan.rows.begin(), plan.rows.end(), 0,
                         [](int sum, const PlannedRow& row) { return sum + row.num_drafts; });
}

// ---------------------------------------------------------------------------------------------------------- verified

TEST(DraftDealer, ARowVerifiesTheDraftsBehindItsToken) {
  Steps steps(WithDrafts(2));
  steps.Add(Drafting(1, 10, 50, 2));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 0, 10)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 3)));
  const PlannedRow& row = steps.plan.rows[0];
  EXPECT_EQ(row.num_drafts, 2);
  EXPECT_EQ(row.first_logit_position, 10);
  EXPECT_EQ(row.num_logits, 3) << "one of them for each of its tokens";
  EXPECT_EQ(steps.plan.num_tokens, 3);
  EXPECT_EQ(steps.plan.num_logits, 3);
  EXPECT_EQ(steps.plan.work, 3.0);
  EXPECT_EQ(steps.plan.work_of_decode, 3.0);
}

TEST(DraftDealer, AcceptedDraftsBecomeTokensAndRejectedOnesGo) {
  Steps steps(WithDrafts(3));
  steps.Add(Drafting(1, 10, 50, 3));
  steps.Step();
  const Sequence& sequence = *steps.plan.rows[0].sequence;
  EXPECT_THAT(sequence.drafts(), ElementsAre(7, 7, 7));
  EXPECT_EQ(sequence.num_tokens(), 11);
  steps.num_right = 1;
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 4)));
  EXPECT_EQ(sequence.computed, 12);
  EXPECT_EQ(sequence.num_tokens(), 13);
  steps.num_right = 0;
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 12, 4)));
  steps.num_right = 3;
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 13, 4)));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 17, 4)));
  EXPECT_EQ(sequence.drafted_tokens, 12);
  EXPECT_EQ(sequence.accepted_tokens, 7);
}

TEST(DraftDealer, ARequestSaysHowMany) {
  Steps steps(WithDrafts(3));
  steps.Add(Drafting(1, 10, 50, 0));
  steps.Add(Drafting(2, 10, 50, 2));
  steps.Add(Drafting(3, 10, 50, 8));
  steps.Add(Drafting(4, 10, 50, kAutoDrafts));
  steps.StepWith({.tokens = 1000, .auto_drafts = 1});
  EXPECT_FALSE(steps.plan.rows[0].following.has_value());
  steps.StepWith({.tokens = 1000, .auto_drafts = 1});
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 0), std::pair(2, 2), std::pair(3, 3), std::pair(4, 1)));
  EXPECT_FALSE(steps.plan.rows[0].following.has_value());
}

TEST(DraftDealer, WhatTheEngineChoosesHoldsFromTheNextStepOn) {
  Steps steps(WithDrafts(3));
  steps.Add(Drafting(1, 10, 50, kAutoDrafts));
  steps.StepWith({.tokens = 1000, .auto_drafts = 3});
  steps.StepWith({.tokens = 1000, .auto_drafts = 1});
  EXPECT_EQ(steps.plan.rows[0].num_drafts, 1) << "of three that were made";
  steps.StepWith({.tokens = 1000, .auto_drafts = 0});
  EXPECT_EQ(steps.plan.rows[0].num_drafts, 0);
  EXPECT_FALSE(steps.plan.rows[0].following.has_value());
  steps.StepWith({.tokens = 1000, .auto_drafts = 2});
  EXPECT_EQ(steps.plan.rows[0].num_drafts, 0) << "none were made";
  EXPECT_EQ(steps.plan.rows[0].following->num_drafts, 2);
}

TEST(DraftDealer, AModelWithoutTheLayerDraftsNothing) {
  Steps steps(WithDrafts(0));
  steps.Add(Drafting(1, 10, 50, 3));
  steps.StepWith({.tokens = 1000, .auto_drafts = 3});
  EXPECT_FALSE(steps.plan.rows[0].following.has_value());
}

TEST(DraftDealer, ScoreDraftsNothing) {
  Steps steps(WithDrafts(3));
  Request request = Drafting(1, 10, 0, 3);
  request.kind = RequestKind::kScore;
  steps.Add(request);
  steps.scheduler.Plan(At(0), {.tokens = 1000, .auto_drafts = 3}, steps.plan);
  ASSERT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 0)));
  EXPECT_FALSE(steps.plan.rows[0].following.has_value());
  steps.scheduler.Commit(steps.plan);
}

TEST(DraftDealer, NothingIsVerifiedBehindTheLastToken) {
  Steps steps(WithDrafts(3));
  steps.num_right = 3;
  steps.Add(Drafting(1, 10, 8, 3));
  steps.Step();
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 3, 0));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 4)));
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 3, 0)) << "as many as could be verified if none of its own were right";
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 14, 3))) << "the eighth token is drawn behind the last of them";
  EXPECT_EQ(steps.plan.rows[0].sequence->num_generated(), 8);
}

TEST(DraftDealer, NothingIsDraftedForTheLastToken) {
  Steps steps(WithDrafts(3));
  steps.Add(Drafting(1, 10, 4, 3));
  std::vector<int> num_drafts;
  for (int i = 0; i < 4; ++i) {
    steps.Step();
    num_drafts.push_back(steps.plan.rows[0].following->num_drafts);
  }
  EXPECT_THAT(num_drafts, ElementsAre(2, 1, 0, 0));
}

TEST(DraftDealer, TheContextEndsDraftsToo) {
  SchedulerOptions options = WithDrafts(3);
  options.max_context_tokens = 14;
  Steps steps(options);
  steps.Add(Drafting(1, 10, 100, 3));
  steps.Step();
  EXPECT_EQ(FollowedOf(steps.plan), Followed(1, 2, 0));
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 3)));
}

// ------------------------------------------------------------------------------------------------------------- shares

// Rows 1 … num_rows, each with `max_drafts` drafts to verify.
void Start(Steps& steps, int num_rows, int max_drafts) {
  for (int i = 1; i <= num_rows; ++i) steps.Add(Drafting(static_cast<RequestId>(i), 10, 200, max_drafts));
  steps.Step();
}

TEST(DraftDealer, DraftsShareTheTokensThatAreLeft) {
  Steps steps(WithDrafts(4));
  Start(steps, 4, 4);
  steps.StepWith({.tokens = 4 + 10});
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 2), std::pair(2, 2), std::pair(3, 3), std::pair(4, 3)));
}

TEST(DraftDealer, ATokenComesBeforeAnyDraft) {
  Steps steps(WithDrafts(4));
  Start(steps, 4, 4);
  EXPECT_THAT(steps.SharesOf({.tokens = 3}), ElementsAre(std::pair(1, 1), std::pair(2, 1), std::pair(3, 1)));
  EXPECT_THAT(steps.SharesOf({.tokens = 5}),
              ElementsAre(std::pair(4, 1), std::pair(1, 1), std::pair(2, 1), std::pair(3, 2)));
}

TEST(DraftDealer, DraftsShareTheLogitRowsThatAreLeft) {
  SchedulerOptions options = WithDrafts(4);
  options.max_step_logits = 7;
  Steps steps(options);
  Start(steps, 3, 4);
  steps.Step();
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 1), std::pair(2, 1), std::pair(3, 2)));
}

TEST(DraftDealer, DraftsAreDealtAsRowsThatDecodeWhateverTheTimeOfTheStep) {
  Steps steps(WithDrafts(4));
  Start(steps, 3, 4);
  steps.StepWith({.tokens = 1000, .work = 2.0});
  EXPECT_EQ(NumDrafts(steps.plan), 12);
  EXPECT_EQ(steps.plan.work_of_decode, 15.0);
}

TEST(DraftDealer, AChunkBoundsDrafts) {
  SchedulerOptions options = WithDrafts(4);
  options.chunk_tokens = 3;
  Steps steps(options);
  steps.Add(Drafting(1, 3, 50, 4));
  steps.Step();
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 3, 3)));
}

TEST(DraftDealer, PromptsKeepHalfOfWhatIsLeft) {
  Steps steps(WithDrafts(8));
  Start(steps, 3, 8);
  steps.Add(Drafting(9, 100, 5, 8));
  steps.StepWith({.tokens = 3 + 20});
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 3), std::pair(2, 3), std::pair(3, 4), std::pair(9, 0)));
  EXPECT_EQ(steps.plan.rows.back().num_tokens, 10);
}

TEST(DraftDealer, EachPromptKeepsALogitRow) {
  SchedulerOptions options = WithDrafts(8);
  options.max_step_logits = 5;
  Steps steps(options);
  Start(steps, 2, 8);
  steps.Add(Drafting(8, 10, 5, 8));
  steps.Add(Drafting(9, 10, 5, 8));
  steps.Step();
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 0), std::pair(2, 1), std::pair(8, 0), std::pair(9, 0)));
  EXPECT_EQ(steps.plan.num_logits, 5);
}

TEST(DraftDealer, GeneratedTokensAreChargedAsTheyAreAccepted) {
  Steps steps(WithDrafts(3));
  steps.num_right = 2;
  Request request = Drafting(1, 10, 50, 3);
  request.scheduling.tenant = "a";
  steps.Add(request);
  const auto charged = [&] { return steps.scheduler.tenants().service_tokens_of_others(); };
  steps.Step();
  EXPECT_EQ(charged(), 10 + kCostOfGenerated);
  steps.scheduler.Plan(At(0), {.tokens = 1000}, steps.plan);
  EXPECT_EQ(charged(), 10 + 2 * kCostOfGenerated);
  steps.Commit(steps.plan);
  EXPECT_EQ(charged(), 10 + 4 * kCostOfGenerated + 1) << "two right, one wrong";
}

TEST(DraftDealer, NoMoreIsDraftedThanAStepCanVerify) {
  SchedulerOptions options = WithDrafts(8);
  options.max_step_logits = 8;
  Steps steps(options);
  Start(steps, 3, 8);
  std::vector<int> num_drafts;
  for (const PlannedRow& row : steps.plan.rows) num_drafts.push_back(row.following->num_drafts);
  EXPECT_THAT(num_drafts, ElementsAre(1, 2, 2));
  steps.Step();
  EXPECT_THAT(DraftsOf(steps), ElementsAre(std::pair(1, 1), std::pair(2, 2), std::pair(3, 2)));
}

// ------------------------------------------------------------------------------------------------------------- blocks

TEST(DraftDealer, BlocksForDraftsAreTakenAhead) {
  Steps steps(WithDrafts(3));
  steps.Add(Drafting(1, 60, 50, 3));
  steps.Step();
  EXPECT_EQ(steps.scheduler.cache().num_held(), 1)
      << "slots 61 to 63: of the drawn token and of the drafts but the last";
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 60, 4)));
  EXPECT_EQ(steps.scheduler.cache().num_held(), 2) << "as many behind the last that it verifies";
}

TEST(DraftDealer, BlocksForDraftsStayBelowTheWatermark) {
  SchedulerOptions options = WithDrafts(3, 4);
  Steps steps(options);
  steps.Add(Drafting(1, 62, 60, 3));
  steps.Add(Drafting(2, 62, 60, 3));
  steps.Step();
  EXPECT_EQ(steps.scheduler.cache().num_available(), 2) << "so many stay for two that run";
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 62, 2), Row(2, 0, 62, 2))) << "one draft, as far as the block goes";
  EXPECT_THAT(steps.plan.rows, Each(testing::Field(&PlannedRow::num_drafts, 1)));
  EXPECT_EQ(steps.scheduler.cache().num_available(), 2);
  EXPECT_EQ(steps.preemptions(PreemptionReason::kBlocks), 0u);
}

TEST(DraftDealer, NoMoreBlocksThanTheSequenceMayEverHold) {
  Steps steps(WithDrafts(8, 3));
  steps.num_right = 8;
  steps.Add(Drafting(1, 100, 29, 8));
  int num_steps = 0;
  for (; steps.scheduler.num_running() > 0 || num_steps == 0; ++num_steps) {
    steps.Step();
    EXPECT_LE(steps.scheduler.cache().num_held(), 2);
    Sequence& sequence = *steps.plan.rows[0].sequence;
    if (sequence.num_generated() >= 29) steps.Finish(1);
    EXPECT_LE(sequence.num_generated(), 29);
  }
  EXPECT_EQ(num_steps, 1 + 4) << "1, then 9, 9, 9 and the last";
}

TEST(DraftDealer, ASequenceThatJustFitsEndsWithDrafts) {
  Steps steps(WithDrafts(3, 3));
  steps.num_right = 1;
  steps.Add(Drafting(1, 64, 129, 3));
  for (RequestId id = 2; id <= 4; ++id) steps.Add(Drafting(id, 64, 129, 3));
  int num_steps = 0;
  for (bool runs = true; runs; ++num_steps) {
    ASSERT_LT(num_steps, 200);
    steps.Step();
    for (const PlannedRow& row : steps.plan.rows) {
      if (row.sequence->request.id == 1) runs = row.sequence->num_generated() < 129;
    }
  }
  EXPECT_LT(num_steps, 90) << "most steps give it two tokens";
}

}  // namespace
}  // namespace latentd
