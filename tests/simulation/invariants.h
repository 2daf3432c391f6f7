// The rules that hold between two events, whatever happened: blocks, queues and counters of the product against each
// other and against what the world knows. Each breaks its Rule at once (violation.h).
#pragma once

#include <array>
#include <string>

#include <absl/strings/str_cat.h>

#include "base/clock.h"
#include "engine/loop/queue_limit.h"
#include "engine/metrics.h"
#include "engine/schedule/scheduler.h"
#include "tests/simulation/life.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {

template <class A, class B>
void RequireEqual(const A& found, const B& expected, Rule rule, const char* what) {
  Require(found == static_cast<A>(expected), rule,
          [&] { return absl::StrCat(what, ": ", found, ", expected ", expected); });
}

// What the world counted itself.
struct WorldCounts {
  uint64_t received = 0;
  uint64_t finished = 0;
  uint64_t steps = 0;  // that computed something
  uint64_t rows = 0;
  uint64_t tokens = 0;
  uint64_t nonfinite_rows = 0;
  uint64_t prompt_tokens_admitted = 0;
  uint64_t prompt_tokens_computed = 0;
  uint64_t prompt_tokens_cached = 0;
  uint64_t recomputed_tokens = 0;
  uint64_t preemptions = 0;
  uint64_t generated = 0;  // that the engine handed on
  // By their place in their row: verified drafts, and those that were right.
  std::array<uint64_t, kMaxDrafts> drafted{}, accepted{};
};

// Each block is free, cached, or in as many tables as the cache says; what the product checks itself holds.
void CheckBlocks(const Scheduler& scheduler);
// Between two turns: what ended has given its blocks back.
void CheckReleased(const Scheduler& scheduler);
// The scheduler's lists hold what the world believes to be in the engine, with the tokens that were computed.
void CheckSequences(const Scheduler& scheduler, Lives& lives);
// Requests that were let in and have no first row yet: all of them, or a tenant's.
QueueLoad WaitingOf(const Lives& lives, const std::string* tenant = nullptr);
void CheckQueue(const QueueLoad& waiting, const Lives& lives, const QueueLoad& most);
// After a turn: the laws that tests/system/laws.py checks on each scrape, and the world's own counts.
void CheckMetrics(Metrics& metrics, const WorldCounts& counts, const Lives& lives);
// An idle engine is woken by the first expiry, and only rests where nothing can run.
void CheckRest(TimePoint next_expiry, const Lives& lives, Duration slow_consumer);
// What all streams hold is what the metrics say.
void CheckBacklog(Metrics& metrics, const Lives& lives);

}  // namespace latentd::simulation
