// Microseconds of a decode step with 1,024 running sequences and 10,000 that wait: its scheduling alone, Plan and
// Commit, and all that the engine does, Begin and Complete on an executor that computes nothing. Beside them what it
// takes to write one cache line of each running sequence, the least that a step must do. Then the queue alone, and
// prefix lookups.
// Usage: schedule_bench [running [waiting]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/metrics.h"
#include "engine/schedule/block_cache.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/tenants.h"
#include "engine/schedule/waiting_queue.h"
#include "engine/step/engine.h"
#include "engine/step/step_executor.h"

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

SchedulerOptions OptionsFor(int num_running) {
  return {.cache = {.num_blocks = 1 + num_running * BlocksFor(kPrompt + 2 * kSteps)},
          .max_step_tokens = num_running * kPrompt,
          .max_step_rows = num_running,
          .max_step_logits = num_running,
          .max_context_tokens = 1 << 20};
}

void PrintTimes(const char* what, std::vector<double> steps) {
  std::sort(steps.begin(), steps.end());
  std::printf("%-19s %.0f us (median of %zu), p99 %.0f us\n", what, steps[steps.size() / 2], steps.size(),
              steps[steps.size() * 99 / 100]);
}

void PrintScheduler(int num_running, int num_waiting) {
  Scheduler scheduler(OptionsFor(num_running));
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
  PrintTimes("Plan + Commit:", std::move(steps));
}

// Every sequence gets the same token.
class IdleExecutor final : public StepExecutor {
 public:
  void Launch(const BatchInputs&, std::span<const SampleRow> samples, std::span<const DraftRow>) override {
    results_.resize(samples.size());
    for (SampleResult& result : results_) result.id = 7;
  }
  std::span<SampleResult> Collect() override { return results_; }

 private:
  std::vector<SampleResult> results_;
};

void PrintEngine(int num_running, int num_waiting) {
  IdleExecutor executor;
  Metrics metrics;
  const SteadyClock clock;
  Engine engine(executor, {.scheduler = OptionsFor(num_running), .step = {.first_tokens = num_running * kPrompt}},
                metrics);
  for (int i = 0; i < num_running + num_waiting; ++i) {
    CHECK(engine.Add(Generate(static_cast<RequestId>(i) + 1)).ok());
  }
  std::vector<double> steps;
  StepOutput output;
  while (steps.size() < kSteps) {
    const TimePoint started = Now();
    std::optional<StepInFlight> step = engine.Begin(started);
    CHECK(step.has_value());
    engine.Complete(*std::move(step), clock, output);
    const double microseconds = Microseconds(Now() - started);
    if (output.num_tokens == num_running && output.num_rows == num_running) steps.push_back(microseconds);
  }
  PrintTimes("Begin + Complete:", std::move(steps));
  const TimePoint started = Now();
  engine.CancelAll(FinishReason::kCancelled);
  std::optional<StepInFlight> step = engine.Begin(Now());
  CHECK(step.has_value());
  engine.Complete(*std::move(step), clock, output);
  CHECK_EQ(static_cast<int>(output.ends.size()), num_running + num_waiting);
  std::printf("%-19s %.0f us\n", "all of them end:", Microseconds(Now() - started));
}

// One leaves the queue and another comes, with tenants that are charged in between.
void PrintQueue(int num_waiting, int num_tenants) {
  Tenants tenants({});
  WaitingQueue queue(tenants, std::chrono::seconds(10));
  const TimePoint first = Now();
  std::vector<Standing> all(static_cast<size_t>(num_waiting));
  for (size_t i = 0; i < all.size(); ++i) {
    const auto number = static_cast<int64_t>(i);
    all[i].tenant = &tenants.Enter(std::to_string(number % num_tenants));
    all[i].priority = static_cast<int>(number % 3);
    all[i].received = first + std::chrono::milliseconds(number);
    all[i].arrival = i;
    all[i].SetStarts({.prompt_tokens = number % 2000,
                      .tokens_per_second = 5000.0,
                      .due = number % 5 == 0 ? first + std::chrono::milliseconds(2 * number) : kNever});
    queue.Add(all[i]);
  }
  std::vector<double> turns;
  TimePoint now = first + std::chrono::milliseconds(num_waiting);
  for (int i = 0; i < 50 * kSteps && num_waiting > 0; ++i) {
    now += std::chrono::microseconds(500);
    const TimePoint started = Now();
    Standing& standing = *queue.First(now);
    queue.Remove(standing);
    tenants.Charge(*standing.tenant, {.prompt_tokens = 512});
    standing.received = now;
    standing.arrival += all.size();
    standing.SetStarts({.prompt_tokens = i % 2000, .tokens_per_second = 5000.0, .due = now + std::chrono::seconds(9)});
    queue.Add(standing);
    turns.push_back(Microseconds(Now() - started));
  }
  if (turns.empty()) return;
  std::sort(turns.begin(), turns.end());
  std::printf("%-19s %.2f us (median of %zu), p99 %.2f us, with %d tenants\n",
              "First, Remove, Add:", turns[turns.size() / 2], turns.size(), turns[turns.size() * 99 / 100],
              num_tenants);
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

// Prefix lookups of long prompts in a cache that holds 30 of them, one after the other, so that each finds its blocks
// in memory rather than in the processor's caches.
void PrintLookup() {
  constexpr int kPrompts = 30, kTokens = 32 * 1024;
  BlockCache cache({.num_blocks = 1 + kPrompts * BlocksFor(kTokens)});
  const auto prompt = [](int which) {
    std::vector<int32_t> tokens(kTokens);
    std::iota(tokens.begin(), tokens.end(), which * 1000);
    return tokens;
  };
  std::vector<double> stores, hits, misses;
  const auto time = [](std::vector<double>& times, const auto& call) {
    const TimePoint started = Now();
    call();
    times.push_back(Microseconds(Now() - started));
  };
  for (int i = 0; i < 2 * kPrompts; ++i) {  // the second half evicts the first
    const std::vector<int32_t> tokens = prompt(i);
    time(stores, [&] {
      BlockTable table;
      while (table.num_blocks() < BlocksFor(kTokens)) CHECK(cache.Extend(table));
      cache.Publish(table, {.salt = {}, .tokens = tokens}, kTokens, TailRule::kFullBlocks);
      cache.Release(table);
    });
  }
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 2 * kPrompts; ++i) {
      const std::vector<int32_t> tokens = prompt(i);
      PrefixMatch match;
      time(i < kPrompts ? misses : hits, [&] { match = cache.Match({.salt = {}, .tokens = tokens}, kTokens); });
      CHECK_EQ(match.num_tokens, i < kPrompts ? 0 : kTokens);
      CHECK_EQ(match.lost_to_eviction, i < kPrompts ? kTokens : 0);
    }
  }
  PrintTimes("32k tokens found:", hits);
  PrintTimes("32k tokens lost:", misses);
  PrintTimes("32k tokens stored:", stores);
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
  const int num_waiting = argc > 2 ? latentd::Number(argv[2]) : 10'000;
  std::printf("%d running, %d waiting\n", num_running, num_waiting);
  latentd::PrintScheduler(num_running, num_waiting);
  latentd::PrintEngine(num_running, num_waiting);
  for (const int num_tenants : {1, 64, 256}) latentd::PrintQueue(num_waiting, num_tenants);
  latentd::PrintFloor(num_running);
  latentd::PrintLookup();
}
