// A step takes nothing from the heap, once all that runs was admitted.
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

Request Generate(RequestId id) {
  Request request{.id = id, .deadline = TimePoint(std::chrono::hours(1))};
  request.prompt.assign(10, 1);
  request.stopping.max_tokens = 2 * kSteps;
  return request;
}

TEST(Scheduler, ADecodeStepTakesNothingFromTheHeap) {
  Scheduler scheduler({.cache = {.num_blocks = 1 + kRunning * BlocksFor(10 + 2 * kSteps)},
                       .max_step_tokens = kRunning * 10,
                       .max_step_rows = kRunning,
                       .max_step_logits = kRunning,
                       .max_context_tokens = 4096});
  for (RequestId id = 1; id <= kRunning + kWaiting; ++id) ASSERT_TRUE(scheduler.Add(Generate(id)).ok());
  BatchPlan plan;
  const auto step = [&] {
    scheduler.Plan({}, {.tokens = kRunning * 10}, plan);
    scheduler.Commit(plan);
    for (const PlannedRow& row : plan.rows) row.sequence->tokens.push_back(7);
  };
  step();
  ASSERT_EQ(plan.rows.size(), kRunning);
  const AllocationCount count;
  for (int i = 1; i < kSteps; ++i) {
    step();
    // Readers fall behind and catch up.
    const RequestId id = 1 + static_cast<RequestId>(i % kRunning);
    EXPECT_EQ(scheduler.Pause(id), 1);
    EXPECT_EQ(scheduler.Resume(id), 1);
  }
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_EQ(scheduler.num_waiting(), kWaiting);
  scheduler.CancelAll(FinishReason::kCancelled);
}

}  // namespace
}  // namespace latentd
