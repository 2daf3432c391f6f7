#include "tests/simulation/invariants.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

Phase PhaseOf(const Life& life) {
  if (life.stage == Stage::kEnded) return Phase::kOutput;
  if (life.has_token) return Phase::kDecode;
  return life.has_started ? Phase::kPrefill : Phase::kQueued;
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

// A prompt is its first sequence's.
void CheckPromptTokens(const MetricsData& data, const WorldCounts& counts, const Lives& lives) {
  int64_t pending = 0;
  lives.ForEachInEngine([&pending](const SequenceLife& sequence) {
    if (sequence.index == 0) pending += sequence.num_prompt_tokens() - sequence.prompt_accounted;
  });
  RequireEqual(data.prompt_tokens_admitted, counts.prompt_tokens_admitted, Rule::kMetrics, "prompt tokens admitted");
  RequireEqual(data.prompt_tokens_computed, counts.prompt_tokens_computed, Rule::kMetrics, "prompt tokens computed");
  RequireEqual(data.prompt_tokens_cached, counts.prompt_tokens_cached, Rule::kMetrics, "prompt tokens cached");
  RequireEqual(data.prefix_hit_tokens, counts.prompt_tokens_cached, Rule::kMetrics, "tokens hit in the prefix cache");
  RequireEqual(data.recomputed_tokens, counts.recomputed_tokens, Rule::kMetrics, "tokens computed again");
  RequireEqual(data.prompt_tokens_pending, pending, Rule::kMetrics, "prompt tokens pending");
  const uint64_t all = data.prompt_tokens_computed + data.prompt_tokens_cached + data.prompt_tokens_abandoned +
                       static_cast<uint64_t>(data.prompt_tokens_pending);
  RequireEqual(all, data.prompt_tokens_admitted, Rule::kMetrics, "prompt tokens computed, cached, abandoned, pending");
  Require(data.prefix_hit_tokens <= data.prefix_queried_tokens, Rule::kMetrics,
          [] { return "more tokens found than were looked for"; });
}

void CheckPreemptions(const MetricsData& data, const WorldCounts& counts) {
  uint64_t preemptions = 0;
  for (const uint64_t count : data.preemptions) preemptions += count;
  RequireEqual(preemptions, counts.preemptions, Rule::kMetrics, "preemptions");
  RequireEqual(data.kv_invariant_violations, 0, Rule::kMetrics, "violations that the product found itself");
}

void CheckBlockCounts(const MetricsData& data) {
  const int64_t blocks = data.kv_blocks_free + data.kv_blocks_cached + data.kv_blocks_active + data.kv_blocks_reserved;
  RequireEqual(blocks, data.kv_blocks_total, Rule::kMetrics, "blocks in all states");
  Require(data.kv_blocks_free >= 0 && data.kv_blocks_cached >= 0 && data.kv_blocks_active >= 0, Rule::kMetrics,
          [] { return "a negative number of blocks"; });
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
  Require(data.spec_drafted_tokens == counts.drafted && data.spec_accepted_tokens == counts.accepted, Rule::kMetrics,
          [] { return "drafts by position are not those that were verified and accepted"; });
}

}  // namespace

void CheckBlocks(const Scheduler& scheduler) {
  const BlockCache& cache = scheduler.cache();
  std::vector<int> references(static_cast<size_t>(cache.num_total()));
  std::vector<const BlockTable*> tables;
  scheduler.ForEachHolder([&](const Sequence& sequence) {
    tables.push_back(&sequence.blocks);
    for (const BlockId block : sequence.blocks.blocks()) ++references[static_cast<size_t>(block)];
  });
  RequireEqual(references[kScratchBlock], 0, Rule::kBlocks, "tables with the scratch block");
  int held = 0;
  for (BlockId block = 0; block < cache.num_total(); ++block) {
    const int expected = references[static_cast<size_t>(block)];
    RequireEqual(cache.num_references(block), expected, Rule::kBlocks, "references of a block");
    held += expected > 0 ? 1 : 0;
  }
  RequireEqual(cache.num_held(), held, Rule::kBlocks, "blocks that are held");
  RequireEqual(cache.num_free() + cache.num_cached() + held + 1, cache.num_total(), Rule::kBlocks,
               "blocks free, cached, held and reserved");
  const absl::Status status = cache.CheckInvariants(tables);
  Require(status.ok(), Rule::kBlocks, [&] { return std::string(status.message()); });
}

void CheckReleased(const Scheduler& scheduler) {
  scheduler.ForEachHolder([](const Sequence& sequence) {
    Require(sequence.phase != SequencePhase::kFinished, Rule::kBlocks, [&] {
      return absl::StrFormat("what request id %d held is not free after its last step", sequence.id().request);
    });
  });
}

void CheckSequences(const Scheduler& scheduler, Lives& lives) {
  int found = 0;
  scheduler.ForEach([&](const Sequence& sequence) {
    SequenceLife& life = lives.ById(sequence.id());
    life.first_block = sequence.computed < kBlockSlots ? -1 : sequence.blocks.blocks().front();
    Require(life.is_in_engine(), Rule::kEnded, [&] { return life.Name() + " is still in the engine"; });
    Require(sequence.standing.received == life.life->request.received, Rule::kOrder,
            [&] { return life.Name() + " has lost the place of its arrival"; });
    RequireEqual(sequence.computed, life.num_computed, Rule::kSlots, "computed tokens of a sequence");
    RequireEqual(sequence.num_generated(), life.num_generated, Rule::kOutput, "generated tokens of a sequence");
    Require(std::ranges::equal(sequence.drafts(), life.drafts), Rule::kOutput,
            [&] { return absl::StrFormat("%s has %d drafts, not its own", life.Name(), sequence.num_drafts); });
    ++found;
  });
  int waiting = 0, paused = 0, all = 0;
  lives.ForEachInEngine([&](const SequenceLife& sequence) {
    const bool is_paused = sequence.life->is_paused;
    const bool has_prompt = sequence.index == 0 || sequence.prompt_accounted > 0;
    waiting += sequence.waits() && has_prompt && !is_paused ? 1 : 0;
    paused += is_paused ? 1 : 0;
    ++all;
  });
  RequireEqual(scheduler.num_waiting(), waiting, Rule::kQueue, "the length of the scheduler's queue");
  RequireEqual(scheduler.num_paused(), paused, Rule::kBackLog, "sequences that are paused");
  RequireEqual(found, all, Rule::kEnded, "sequences in the engine");
}

QueueLoad WaitingOf(const Lives& lives, const std::string* tenant) {
  QueueLoad waiting;
  for (const Life& life : lives.all()) {
    if (tenant != nullptr && life.request.scheduling.tenant != *tenant) continue;
    if (life.stage != Stage::kSubmitted && (!life.is_in_engine() || life.has_started)) continue;
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
    CheckPreemptions(data, counts);
    CheckBlockCounts(data);
    Require(data.sequences_paused >= data.sequences_resumed, Rule::kMetrics,
            [] { return "more sequences resumed than paused"; });
    Require(data.generated_tokens_delivered + data.generated_tokens_discarded <= counts.generated, Rule::kMetrics,
            [] { return "more tokens published than generated"; });
  });
}

// Whatever waits can begin where nothing runs: what cannot ever was refused.
void CheckRest(TimePoint next_expiry, const Lives& lives, Duration slow_consumer) {
  TimePoint first = kNever;
  bool may_be_earlier = false;
  lives.ForEachInEngine([&](const SequenceLife& sequence) {
    const Life& life = *sequence.life;
    first = std::min(first, life.Expiry(slow_consumer));
    may_be_earlier = may_be_earlier || life.MayBeHopeless();
    Require(life.is_paused, Rule::kLiveness, [&] {
      return absl::StrFormat("the engine rests, %s %s", sequence.Name(), sequence.waits() ? "waits" : "runs");
    });
  });
  const bool holds = may_be_earlier ? next_expiry <= first : next_expiry == first;
  Require(holds, Rule::kLiveness, [] { return "the engine sleeps past an expiry, or wakes for none"; });
}

void CheckBacklog(Metrics& metrics, const Lives& lives) {
  int64_t pending = 0;
  for (const Life& life : lives.all()) {
    if (life.stream != nullptr) pending += static_cast<int64_t>(life.stream->pending_bytes());
  }
  RequireEqual(metrics.stream_backlog_bytes().load(), pending, Rule::kBackLog, "bytes that no reader took");
}

}  // namespace latentd::simulation
