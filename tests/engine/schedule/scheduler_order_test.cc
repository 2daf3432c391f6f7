// Who gets rows and places: priorities, connections, prompts beside others, readers that make others wait.
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

TEST(Scheduler, HigherPriorityTakesARowFromALowerOne) {
  SchedulerOptions options = WithBlocks(20);
  options.max_step_rows = 2;
  Steps steps(options);
  steps.Add(Generate(1, 10, 50));
  steps.Add(Generate(2, 10, 50));
  steps.Step();
  Request urgent = Generate(3, 10, 50);
  urgent.scheduling.priority = 1;
  steps.Add(urgent);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 1), Row(3, 0, 0, 10)));
  EXPECT_EQ(steps.preemptions(PreemptionReason::kPriority), 1u);
  steps.Finish(3);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 11, 1), Row(2, 0, 10, 1))) << "it goes on where it was";
}

TEST(Scheduler, EqualPriorityTakesNoRow) {
  SchedulerOptions options = WithBlocks(20);
  options.max_step_rows = 1;
  Steps steps(options);
  steps.Add(Generate(1, 10, 50));
  steps.Step();
  steps.Add(Generate(2, 10, 50));
  for (int i = 0; i < 10; ++i) EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10 + i, 1)));
}

TEST(Scheduler, ShortPromptGoesBeforeALongOneThatHasBegun) {
  Steps steps(WithBlocks(40));
  const auto step = [&steps] { return steps.SharesOf({.tokens = 100, .tokens_per_second = 1000}); };
  step();  // the rate is known from here on
  steps.Add(Generate(1, 500, 5));
  EXPECT_THAT(step(), ElementsAre(std::pair(1, 100)));
  steps.Add(Generate(2, 30, 5));
  EXPECT_THAT(step(), ElementsAre(std::pair(2, 30), std::pair(1, 70)));
}

TEST(Scheduler, PromptsTakeTheWholeStepOnlyWhereTheyAreAlone) {
  Steps steps(WithBlocks(60));
  const auto step = [&steps] {
    return steps.SharesOf({.tokens = 1000, .work = 1000, .work_beside_decode = 20, .work_beside_prompts = 60});
  };
  steps.Add(Generate(1, 500, 5));
  EXPECT_THAT(step(), ElementsAre(std::pair(1, 500)));
  steps.Add(Generate(2, 500, 5));
  EXPECT_THAT(step(), ElementsAre(std::pair(1, 1), std::pair(2, 20)));
  steps.Add(Generate(3, 500, 5));
  EXPECT_THAT(step(), ElementsAre(std::pair(1, 1), std::pair(2, 10), std::pair(3, 10)));
  steps.Finish(1);
  EXPECT_THAT(step(), ElementsAre(std::pair(2, 30), std::pair(3, 30)));
}

TEST(Scheduler, FirstTokenThatComesTooLateIsNotWaitedFor) {
  SchedulerOptions options = WithBlocks(10);
  options.max_step_rows = 1;
  Steps steps(options);
  steps.Add(Generate(1, 10, 50));
  steps.scheduler.Plan(At(0), {.tokens = 1000, .tokens_per_second = 100}, steps.plan);
  steps.scheduler.Commit(steps.plan);
  Request request = Generate(2, 200, 5);
  request.scheduling.first_token_by = At(5);
  steps.Add(request);
  EXPECT_EQ(steps.scheduler.NextExpiry(), At(3)) << "its prompt takes two seconds";
  steps.scheduler.Plan(At(3), {.tokens = 1000, .tokens_per_second = 100}, steps.plan);
  steps.scheduler.Commit(steps.plan);
  const auto finished = steps.scheduler.TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_EQ(finished[0]->finish_reason, FinishReason::kSloUnattainable);
}

TEST(Scheduler, ConnectionsTakeTurnsWhereNoTenantIsNamed) {
  SchedulerOptions options = WithBlocks(40);
  options.max_step_rows = 1;
  Steps steps(options);
  for (RequestId id = 1; id <= 4; ++id) {
    Request request = Generate(id, 10, 50);
    request.scheduling.client = "many";
    steps.Add(request);
  }
  steps.Step();
  Request request = Generate(5, 10, 50);
  request.scheduling.client = "few";
  steps.Add(request);
  steps.Finish(1);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 10))) << "as much was served of both, and it came first";
  steps.Finish(2);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(5, 0, 0, 10)));
}

TEST(Scheduler, PlacesOfPausedSequencesAreBoundedAndGivenUpEarly) {
  SchedulerOptions options = WithBlocks(40);
  options.max_started = 2;
  Steps steps(options);
  for (RequestId id = 1; id <= 3; ++id) steps.Add(Generate(id, 10, 50));
  EXPECT_THAT(steps.Step(), SizeIs(2));
  steps.scheduler.Pause(2);
  steps.scheduler.Pause(1);
  EXPECT_THAT(steps.Step(At(1)), IsEmpty());
  EXPECT_EQ(steps.scheduler.NextExpiry(), At(1) + std::chrono::milliseconds(500));
  EXPECT_THAT(steps.Step(At(2)), ElementsAre(Row(3, 0, 0, 10)));
  const auto finished = steps.scheduler.TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_EQ(finished[0]->request.id, 2u) << "it was paused first";
  EXPECT_EQ(finished[0]->finish_reason, FinishReason::kSlowConsumer);
  EXPECT_THAT(steps.Step(At(4)), SizeIs(1)) << "the other keeps its place, since none waits for it";
}

TEST(Scheduler, PausedBlocksAreTakenBeforeThoseOfALowerPriority) {
  Steps steps(WithBlocks(6));
  steps.Add(Generate(1, 100, 50));
  steps.Add(Generate(2, 200, 50));
  steps.Step();
  steps.Step();
  steps.scheduler.Pause(2);
  Request urgent = Generate(3, 60, 5);
  urgent.scheduling.priority = 1;
  steps.Add(urgent);
  EXPECT_THAT(steps.Step(), UnorderedElementsAre(Row(1, 0, 101, 1), Row(3, 0, 0, 60)));
  EXPECT_EQ(steps.preemptions(PreemptionReason::kPriority), 0u);
}

TEST(Scheduler, PromptsThatHaveBegunKeepTheirRows) {
  SchedulerOptions options = WithBlocks(60);
  options.max_step_rows = 2;
  Steps steps(options);
  steps.Add(Generate(1, 100, 50));
  steps.Add(Generate(2, 100, 50));
  steps.Add(Generate(3, 100, 50));
  steps.Step(At(0), 60);
  for (int i = 0; i < 3; ++i) steps.Step(At(0), 60);
  EXPECT_EQ(steps.scheduler.num_running(), 2) << "two rows, so two have begun";
  EXPECT_EQ(steps.scheduler.num_waiting(), 1);
}

TEST(Scheduler, WhatAgeingRaisedIsNotPreemptedForAClass) {
  SchedulerOptions options = WithBlocks(40);
  options.max_step_rows = 1;
  options.ageing_seconds = 1.0;
  Steps steps(options);
  Request old = Generate(1, 10, 50);
  old.scheduling.tenant = "a";
  steps.Add(old);
  steps.Step(At(2));
  Request urgent = Generate(2, 10, 50);
  urgent.scheduling.tenant = "b";
  urgent.scheduling.priority = 1;
  urgent.received = At(2);
  steps.Add(urgent);
  EXPECT_THAT(steps.Step(At(2)), ElementsAre(Row(1, 0, 10, 1)));
}

TEST(Scheduler, PreemptionForAClassLeavesAPlaceForIt) {
  SchedulerOptions options = WithBlocks(40);
  options.max_step_rows = 1;
  options.max_started = 1;
  Steps steps(options);
  steps.Add(Generate(1, 10, 50));
  steps.Step();
  Request urgent = Generate(2, 10, 50);
  urgent.scheduling.priority = 3;
  steps.Add(urgent);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(1, 0, 10, 1))) << "it has no place, so none is taken from another";
  steps.Finish(1);
  EXPECT_THAT(steps.Step(), ElementsAre(Row(2, 0, 0, 10)));
}

TEST(Scheduler, ACrowdedRequestEndsWithAllItsContinuations) {
  SchedulerOptions options = WithBlocks(40);
  options.max_started = 2;
  Steps steps(options);
  Request request = Generate(1, 10, 50);
  request.num_sequences = 2;
  steps.Add(request);
  steps.Step();
  steps.Step();
  steps.Add(Generate(2, 10, 50));
  steps.scheduler.Pause(1);
  steps.Step(At(1));
  EXPECT_THAT(steps.Step(At(2)), ElementsAre(Row(2, 0, 0, 10)));
  EXPECT_THAT(steps.scheduler.TakeFinished(), SizeIs(2));
}

}  // namespace
}  // namespace latentd
