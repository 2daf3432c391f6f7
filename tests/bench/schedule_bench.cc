// Microseconds of a decode step's scheduling alone, Plan and Commit, with 1,024 running sequences and 10,000 that wait;
// beside it what it takes to write one cache line of each running sequence, the least that a step must do.
// Usage: schedule_bench [running [waiting]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/check.h"
#include "engine/schedule/scheduler.h"

namespace latentd {
namespace {

constexpr int kSteps = 400;
constexpr int kPrompt = 64;

double Microseconds(Duration duration) { return 1e6 * Seconds(duration); }

TimePoint Now() { return std::chrono::steady_clock::now(); }

Request Generate(RequestId id) {
  Request request{.id = id, .received = Now()};
  request.prompt.assign(kPrompt, 1);
  request.stopping.max_tokens = 2 * kSteps;
  request.deadline = Now() + std::chrono::hours(1);
  return request;
}

void PrintStep(int num_running, int num_waiting) {
  const int blocks_each = BlocksFor(kPrompt + 2 * kSteps);
  Scheduler scheduler({.pool = {.num_blocks = 1 + num_running * blocks_each},
                       .max_step_tokens = num_running * kPrompt,
                       .max_step_rows = num_running,
                       .max_step_logits = num_running,
                       .max_context_tokens = 1 << 20});
  for (int i = 0; i < num_running + num_waiting; ++i) {
    CHECK(scheduler.Add(Generate(static_cast<RequestId>(i) + 1)).ok());
  }
  std::vector<double> steps;
  BatchPlan plan;
  for (int i = 0; i < kSteps; ++i) {
    const TimePoint started = Now();
    scheduler.Plan(started, {.tokens = num_running * kPrompt}, plan);
    scheduler.Commit(plan);
    steps.push_back(Microseconds(Now() - started));
    CHECK_EQ(static_cast<int>(plan.rows.size()), num_running);
    for (const PlannedRow& row : plan.rows) row.sequence->tokens.push_back(7);
  }
  scheduler.CancelAll(FinishReason::kCancelled);
  std::sort(steps.begin(), steps.end());
  std::printf("%d running, %d waiting: %.0f us a step (median of %d), p99 %.0f us\n", num_running, num_waiting,
              steps[kSteps / 2], kSteps, steps[kSteps * 99 / 100]);
}

void PrintFloor(int num_running) {
  struct alignas(64) Line {
    int64_t value;
  };
  std::vector<std::unique_ptr<Line>> lines;
  for (int i = 0; i < num_running; ++i) lines.push_back(std::make_unique<Line>());
  const TimePoint started = Now();
  for (int step = 0; step < kSteps; ++step) {
    for (const auto& line : lines) {
      volatile int64_t& value = line->value;
      value = value + 1;
    }
  }
  std::printf("one cache line of each written: %.1f us\n", Microseconds(Now() - started) / kSteps);
}

int Number(const char* text) {
  const int number = std::atoi(text);
  CHECK_GE(number, 0);
  return number;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  const int num_running = argc > 1 ? latentd::Number(argv[1]) : 1024;
  latentd::PrintStep(num_running, argc > 2 ? latentd::Number(argv[2]) : 10'000);
  latentd::PrintFloor(num_running);
}
