// The rules that hold between two events, whatever happened: blocks, queues and counters of the product against each
// other and against what the world knows. Each breaks its Rule at once (violation.h).
#pragma once

#include "base/clock.h"
#include "engine/loop/queue_limit.h"
#include "engine/metrics.h"
#include "engine/schedule/scheduler.h"
#include "tests/simulation/life.h"

namespace latentd::simulation {

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
  uint64_t generated = 0;  // that the engine handed on
};

// Each block is free or in as many tables as the pool says, and what is free covers what is promised.
void CheckBlocks(const Scheduler& scheduler);
// Between two turns: what ended has given its blocks back.
void CheckReleased(const Scheduler& scheduler);
// The scheduler's lists hold what the world believes to be in the engine, with the tokens that were computed.
void CheckSequences(const Scheduler& scheduler, Lives& lives);
// What was let in and has no first row yet.
QueueLoad WaitingOf(const Lives& lives);
void CheckQueue(const QueueLoad& waiting, const Lives& lives, const QueueLoad& most);
// After a turn: the laws that tests/system/laws.py checks on each scrape, and the world's own counts.
void CheckMetrics(Metrics& metrics, const WorldCounts& counts, const Lives& lives);
// An idle engine is woken by the first expiry, and only rests where nothing can run.
void CheckRest(TimePoint next_expiry, const Lives& lives, Duration slow_consumer);
// What all streams hold is what the metrics say.
void CheckBacklog(Metrics& metrics, const Lives& lives);

}  // namespace latentd::simulation
