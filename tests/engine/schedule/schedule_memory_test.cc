// A step takes nothing from the heap, once all that runs was admitted.
#include <algorithm>
#include <chrono>
#include <vector>

#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"
#include "tests/support/allocation_count.h"

namespace latentd {
namespace {

constexpr int kRunning = 100;
constexpr int kWaiting = 1000;
constexpr int kSteps = 200;  // each sequence takes some blocks in them

Request Generate(RequestId id, int max_tokens) {
  Request request{.id = id, .deadline = TimePoint(std::chrono::hours(1))};
  request.prompt.assign(10, 1);
  request.stopping.max_tokens = max_tokens;
  return request;
}

// So many drafts of each row, all kinds of numbers of them right.
void ExpectNoAllocations(int num_drafts) {
  const int max_tokens = 2 * kSteps * (1 + num_drafts);
  Scheduler scheduler({.cache = {.num_blocks = 1 + kRunning * BlocksFor(10 + max_tokens)},
                       .max_step_tokens = kRunning * 10,
                       .max_step_rows = kRunning,
                       .max_step_logits = kRunning * (1 + num_drafts),
                       .max_drafts = num_drafts,
                       .max_context_tokens = 4096});
  for (RequestId id = 1; id <= kRunning + kWaiting; ++id) ASSERT_TRUE(scheduler.Add(Generate(id, max_tokens)).ok());
  BatchPlan plan;
  const std::vector<int32_t> drafts(static_cast<size_t>(num_drafts), 7);
  int num_verified = 0;
  const auto step = [&] {
    scheduler.Plan({}, {.tokens = kRunning * 10, .auto_drafts = num_drafts}, plan);
    for (PlannedRow& row : plan.rows) {
      row.verdict.num_accepted = std::min(row.num_drafts, num_verified++ % (1 + num_drafts));
    }
    scheduler.Commit(plan);
    for (const PlannedRow& row : plan.rows) {
      row.sequence->tokens.push_back(7);
      if (row.following) row.sequence->AddDrafts(drafts);
    }
  };
  step();
  ASSERT_EQ(plan.rows.size(), kRunning);
  const AllocationCount count;
  for (int i = 1; i < kSteps; ++i) {
    step();
    EXPECT_EQ(plan.num_tokens, kRunning * (1 + num_drafts));
    // Readers fall behind and catch up.
    const RequestId id = 1 + static_cast<RequestId>(i % kRunning);
    EXPECT_EQ(scheduler.Pause(id), 1);
    EXPECT_EQ(scheduler.Resume(id), 1);
  }
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_EQ(scheduler.num_waiting(), kWaiting);
  scheduler.CancelAll(FinishReason::kCancelled);
}

TEST(Scheduler, ADecodeStepTakesNothingFromTheHeap) { ExpectNoAllocations(0); }

TEST(Scheduler, ADecodeStepWithDraftsTakesNothingFromTheHeap) { ExpectNoAllocations(3); }

}  // namespace
}  // namespace latentd
