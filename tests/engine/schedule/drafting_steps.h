// What tests of a Scheduler with drafts ask for and look at, beside scheduler_steps.h.
#pragma once

#include <tuple>

#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"
#include "tests/engine/schedule/scheduler_steps.h"

namespace latentd::by_hand {

inline SchedulerOptions WithDrafts(int max_drafts, int num_blocks = 20) {
  SchedulerOptions options = WithBlocks(num_blocks);
  options.max_drafts = max_drafts;
  options.max_step_logits = 100;
  return options;
}

inline Request Drafting(RequestId id, int num_prompt_tokens, int max_tokens, int max_drafts) {
  Request request = Generate(id, num_prompt_tokens, max_tokens);
  request.max_drafts = max_drafts;
  return request;
}

// {first key, drafts to be made, tokens computed again} of a step's only row; all -1 where it is not followed.
using Followed = std::tuple<int, int, int>;
inline Followed FollowedOf(const BatchPlan& plan) {
  EXPECT_EQ(plan.rows.size(), 1u);
  const PlannedRow& row = plan.rows.front();
  return row.following ? Followed(row.following->first_key, row.following->num_drafts, row.num_again)
                       : Followed(-1, -1, -1);
}

}  // namespace latentd::by_hand
