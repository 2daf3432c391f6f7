#include "tests/simulation/invariants.h"

#include <algorithm>
#include <array>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

template <class A, class B>
void RequireEqual(const A& found, const B& expected, Rule rule, const char* what) {
  Require(found == static_cast<A>(expected), rule,
          [&] { return absl::StrCat(what, ": ", found, ", expected ", expected); });
}

Phase PhaseOf(const Life& life) {
  if (life.stage == Stage::kEnded) return Phase::kOutput;
  if (life.stage == Stage::kDecode) return Phase::kDecode;
  return life.stage == Stage::kPrefill ? Phase::kPrefill : Phase::kQueued;
}

void CheckInFlight(const MetricsData& data, const WorldCounts& counts, const Lives& lives) {
  std::array<int64_t, kNumPhases> expected{};
  for (const Life& life : lives.all()) {
    const bool is_in_flight = life.is_alive() || life.stage == Stage::kEnded;
    if (is_in_flight) ++expected[static_cast<size_t>(PhaseOf(life))];
  }
  const auto& found = data.requests_in_flight.counts();
  int64_t in_flight = 0;
  for (size_t phase = 0; phase < kNumPhases; ++phase) {
    in_flight += found[phase];
    Require(found[phase] == expected[phase], Rule::kMetrics, [&] {
      return absl::StrFormat("%d requests in flight in phase %d, expected %d", found[phase], phase, expected[phase]);
    });
  }
  RequireEqual(counts.finished + static_cast<uint64_t>(in_flight), counts.received, Rule::kMetrics,
               "requests finished and in flight");
}

void CheckPromptTokens(const MetricsData& data, const WorldCounts& counts, const Lives& lives) {
  int64_t pending = 0;
  for (const Life& life : lives.all()) {
    if (life.is_in_engine()) pending += std::max(0, life.num_prompt_tokens() - life.num_computed);
  }
  RequireEqual(data.prompt_tokens_admitted, counts.prompt_tokens_admitted, Rule::kMetrics, "prompt tokens admitted");
  RequireEqual(data.prompt_tokens_computed, counts.prompt_tokens_computed, Rule::kMetrics, "prompt tokens computed");
  RequireEqual(data.prompt_tokens_pending, pending, Rule::kMetrics, "prompt tokens pending");
  const uint64_t all =
      data.prompt_tokens_computed + data.prompt_tokens_abandoned + static_cast<uint64_t>(data.prompt_tokens_pending);
  RequireEqual(all, data.prompt_tokens_admitted, Rule::kMetrics, "prompt tokens computed, abandoned and pending");
}

void CheckSteps(const MetricsData& data, const WorldCounts& counts) {
  uint64_t by_kind = 0;
  for (const Histogram& seconds : data.step_seconds) by_kind += seconds.count();
  RequireEqual(by_kind, counts.steps, Rule::kMetrics, "steps by kind");
  RequireEqual(data.step_rows.count(), counts.steps, Rule::kMetrics, "steps by rows");
  RequireEqual(data.step_tokens.count(), counts.steps, Rule::kMetrics, "steps by tokens");
  RequireEqual(static_cast<uint64_t>(data.step_rows.sum()), counts.rows, Rule::kMetrics, "rows of all steps");
  RequireEqual(static_cast<uint64_t>(data.step_tokens.sum()), counts.tokens, Rule::kMetrics, "tokens of all steps");
  RequireEqual(data.nonfinite_rows, counts.nonfinite_rows, Rule::kMetrics, "rows that were not finite");
}

}  // namespace

void CheckBlocks(const Scheduler& scheduler) {
  const BlockPool& pool = scheduler.pool();
  std::vector<int> references(static_cast<size_t>(pool.num_total()));
  int promised = 0;
  scheduler.ForEachHolder([&](const Sequence& sequence) {
    for (const BlockId block : sequence.blocks.blocks()) ++references[static_cast<size_t>(block)];
    promised += sequence.blocks.num_promised();
  });
  RequireEqual(references[kScratchBlock], 0, Rule::kBlocks, "tables with the scratch block");
  int free = -1;  // without the scratch block
  for (BlockId block = 0; block < pool.num_total(); ++block) {
    const int expected = references[static_cast<size_t>(block)];
    RequireEqual(pool.num_references(block), expected, Rule::kBlocks, "references of a block");
    Require(expected <= 1, Rule::kBlocks, [&] { return absl::StrFormat("block %d is in two tables", block); });
    free += expected == 0 ? 1 : 0;
  }
  RequireEqual(pool.num_free(), free, Rule::kBlocks, "free blocks");
  RequireEqual(pool.num_promised(), promised, Rule::kBlocks, "promised blocks");
  Require(promised <= free, Rule::kBlocks, [&] { return absl::StrFormat("%d of %d blocks promised", promised, free); });
}

void CheckReleased(const Scheduler& scheduler) {
  scheduler.ForEachHolder([](const Sequence& sequence) {
    Require(sequence.phase != SequencePhase::kFinished, Rule::kBlocks, [&] {
      return absl::StrFormat("what request id %d held is not free after its last step", sequence.id().request);
    });
  });
}

void CheckSequences(const Scheduler& scheduler, Lives& lives) {
  int waiting = 0, running = 0, paused = 0;
  scheduler.ForEach([&](const Sequence& sequence) {
    const Life& life = lives.ById(sequence.request.id);
    Require(life.is_in_engine(), Rule::kEnded,
            [&] { return absl::StrFormat("request %d is still in the engine", life.number()); });
    RequireEqual(sequence.computed, life.num_computed, Rule::kSlots, "computed tokens of a sequence");
    RequireEqual(sequence.num_generated(), life.num_generated, Rule::kOutput, "generated tokens of a sequence");
    waiting += sequence.phase == SequencePhase::kWaiting ? 1 : 0;
    running += sequence.phase == SequencePhase::kRunning ? 1 : 0;
    paused += sequence.phase == SequencePhase::kPaused ? 1 : 0;
  });
  const auto count = [&lives](auto&& holds) {
    return static_cast<int>(std::count_if(lives.all().begin(), lives.all().end(), holds));
  };
  RequireEqual(waiting, count([](const Life& life) { return life.stage == Stage::kWaiting; }), Rule::kQueue,
               "sequences that wait");
  RequireEqual(paused, count([](const Life& life) { return life.is_in_engine() && life.is_paused; }), Rule::kBackLog,
               "sequences that are paused");
  RequireEqual(waiting + running + paused, count([](const Life& life) { return life.is_in_engine(); }), Rule::kEnded,
               "sequences in the engine");
  RequireEqual(scheduler.num_waiting(), waiting, Rule::kQueue, "the length of the scheduler's queue");
}

QueueLoad WaitingOf(const Lives& lives) {
  QueueLoad waiting;
  for (const Life& life : lives.all()) {
    if (life.stage != Stage::kSubmitted && life.stage != Stage::kWaiting) continue;
    ++waiting.requests;
    waiting.tokens += life.num_prompt_tokens();
  }
  return waiting;
}

void CheckQueue(const QueueLoad& waiting, const Lives& lives, const QueueLoad& most) {
  const QueueLoad expected = WaitingOf(lives);
  RequireEqual(waiting.requests, expected.requests, Rule::kQueue, "requests that wait");
  RequireEqual(waiting.tokens, expected.tokens, Rule::kQueue, "prompt tokens that wait");
  Require(waiting.requests <= most.requests, Rule::kQueue,
          [&] { return absl::StrFormat("%d requests wait, at most %d", waiting.requests, most.requests); });
  Require(waiting.requests <= 1 || waiting.tokens <= most.tokens, Rule::kQueue,
          [&] { return absl::StrFormat("%d prompt tokens wait, at most %d", waiting.tokens, most.tokens); });
}

void CheckMetrics(Metrics& metrics, const WorldCounts& counts, const Lives& lives) {
  // Not a Snapshot, which copies every histogram.
  metrics.Update([&](const MetricsData& data) {
    CheckInFlight(data, counts, lives);
    CheckPromptTokens(data, counts, lives);
    CheckSteps(data, counts);
    const int64_t blocks =
        data.kv_blocks_free + data.kv_blocks_active + data.kv_blocks_cached + data.kv_blocks_reserved;
    RequireEqual(blocks, data.kv_blocks_total, Rule::kMetrics, "blocks in all states");
    Require(data.kv_blocks_free >= 0 && data.kv_blocks_active >= 0 && data.kv_blocks_cached >= 0, Rule::kMetrics,
            [] { return "a negative number of blocks"; });
    Require(data.sequences_paused >= data.sequences_resumed, Rule::kMetrics,
            [] { return "more sequences resumed than paused"; });
    Require(data.generated_tokens_delivered + data.generated_tokens_discarded <= counts.generated, Rule::kMetrics,
            [] { return "more tokens published than generated"; });
  });
}

void CheckRest(TimePoint next_expiry, const Lives& lives, Duration slow_consumer) {
  TimePoint first = kNever;
  for (const Life& life : lives.all()) {
    if (!life.is_in_engine()) continue;
    first = std::min(first, life.Expiry(slow_consumer));
    const bool runs = life.stage != Stage::kWaiting && !life.is_paused;
    Require(!runs, Rule::kLiveness,
            [&] { return absl::StrFormat("the engine rests, request %d runs", life.number()); });
  }
  Require(next_expiry == first, Rule::kLiveness, [] { return "the engine sleeps past an expiry, or wakes for none"; });
}

void CheckBacklog(Metrics& metrics, const Lives& lives) {
  int64_t pending = 0;
  for (const Life& life : lives.all()) {
    if (life.stream != nullptr) pending += static_cast<int64_t>(life.stream->pending_bytes());
  }
  RequireEqual(metrics.stream_backlog_bytes().load(), pending, Rule::kBackLog, "bytes that no reader took");
}

}  // namespace latentd::simulation
