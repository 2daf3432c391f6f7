// All that the daemon counts, in one struct behind one mutex, so that each scrape sees one consistent moment.
// gRPC and egress threads report requests as they come and go, with all their latencies; the engine thread reports
// once per step.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "engine/schedule/schedule_counts.h"
#include "engine/schedule/tenant_totals.h"
#include "engine/schedule/wait_reason.h"

namespace latentd {

// How a reader's wish for events of the prefix cache again ended: with all from its number on; with a snapshot, because
// that one is held no longer; unread by it; it named no number.
enum class KvReplay : uint8_t { kWhole, kSnapshot, kUnread, kMalformed };
using KvReplayCounts = std::array<uint64_t, 4>;

enum class Phase : uint8_t { kQueued, kPrefill, kDecode, kOutput };
inline constexpr int kNumPhases = 4;

// How many requests are in each phase. Every request arrives once and leaves once; between the two the engine moves
// those that it took, in the order of the enum, and each of them to kOutput at its end. So a request leaves from
// kOutput, or from where it arrived if the engine never took it. An engine without a server has no arrivals: its
// counts go below 0.
class RequestPhases {
 public:
  void Arrive(Phase phase) { ++count_of(phase); }
  void Move(Phase from, Phase to, int64_t count) {
    CHECK(from < to && "no request goes back: it arrives once and leaves once");
    CHECK_GE(count, 0);
    count_of(from) -= count;
    count_of(to) += count;
  }
  void Leave(Phase phase) { --count_of(phase); }

  int64_t in(Phase phase) const { return counts_[static_cast<size_t>(phase)]; }
  const std::array<int64_t, kNumPhases>& counts() const { return counts_; }  // in the order of the enum

 private:
  int64_t& count_of(Phase phase) { return counts_[static_cast<size_t>(phase)]; }

  std::array<int64_t, kNumPhases> counts_{};
};

enum class StepKind : uint8_t { kPrefill, kDecode, kMixed };
inline constexpr int kNumStepKinds = 3;

// What the process as a whole is doing.
enum class ServerState : uint8_t { kLoading, kServing, kStalled, kDraining };
inline constexpr int kNumServerStates = 4;

enum class StartupStage : uint8_t { kConfig, kTokenizer, kWeights, kTotal };
inline constexpr int kNumStartupStages = 4;

// What became of the spans of requests that ended, where traces are exported.
enum class SpanFate : uint8_t { kExported, kQueueFull, kRejected, kFailed };
inline constexpr int kNumSpanFates = 4;

// An outcome of a terminated RPC.
struct Outcome {
  std::string method;     // "Generate", "Score", …
  std::string grpc_code;  // "OK", "INVALID_ARGUMENT", …
  std::string reason;     // "EOS", "INVALID_FIELD", …; never empty
  auto operator<=>(const Outcome&) const = default;
};

// What RPCs with one outcome took and cost. Each observes when it ends, in the same moment in which it is counted as
// finished, so that no outcome is missing from a latency: a request that expired in the queue has its time there, too.
struct OutcomeTotals {
  Histogram request_seconds{kRequestSeconds};
  Histogram queue_seconds{kRequestSeconds};
  Histogram prefill_seconds{kRequestSeconds};
  Histogram time_to_first_token_seconds{kRequestSeconds};
  Histogram decode_seconds{kRequestSeconds};
  Histogram inter_token_latency_seconds{kTokenSeconds};
  Histogram time_per_output_token_seconds{kTokenSeconds};
  Histogram preempted_seconds{kRequestSeconds};  // of requests that were preempted
  Histogram cancel_to_release_seconds{kRequestSeconds};
  uint64_t wasted_tokens = 0;
};

struct MetricsData {
  std::map<std::string, uint64_t> requests_received;  // by method
  std::map<Outcome, uint64_t> requests_finished;
  RequestPhases requests_in_flight;                    // Σ received - Σ finished = Σ in flight
  std::map<std::string, OutcomeTotals> outcomes;       // by reason
  std::map<std::string, uint64_t> admission_rejected;  // by reason
  WaitCounts queue_waits{};                            // step-sequences skipped, by reason

  PriorityCounts queued_by_priority{};
  PreemptionCounts preemptions{};
  std::vector<TenantTotals> tenants = {};  // in an order that does not change

  // admitted = computed + cached + abandoned + pending
  uint64_t prompt_tokens_admitted = 0;
  uint64_t prompt_tokens_computed = 0;
  uint64_t prompt_tokens_cached = 0;     // found in the prefix cache instead
  uint64_t prompt_tokens_abandoned = 0;  // of requests that ended before their prompt was computed
  int64_t prompt_tokens_pending = 0;     // of live requests
  uint64_t recomputed_tokens = 0;        // computed before, then lost to a preemption; of prompts and answers
  uint64_t prefix_queried_tokens = 0;    // prompt tokens looked for in the prefix cache
  uint64_t prefix_hit_tokens = 0;        // found there
  PrefixLossCounts prefix_lost_tokens{};
  // To ZeroMQ subscribers: told, told late as one clearing, and asked for again.
  uint64_t kv_events_published = 0;
  uint64_t kv_events_missed = 0;
  KvReplayCounts kv_replays{};
  uint64_t generated_tokens_delivered = 0;
  uint64_t generated_tokens_discarded = 0;
  // By their place among the drafts of their row.
  std::array<uint64_t, kMaxDrafts> spec_drafted_tokens{};   // that steps verified
  std::array<uint64_t, kMaxDrafts> spec_accepted_tokens{};  // of these
  int64_t spec_k = 0;                                       // drafts of a row, as the engine chose last
  Histogram prompt_length_tokens{kLengthTokens};
  Histogram generation_length_tokens{kLengthTokens};

  std::array<Histogram, kNumStepKinds> step_seconds{Histogram{kTokenSeconds}, Histogram{kTokenSeconds},
                                                    Histogram{kTokenSeconds}};
  Histogram step_rows{kStepRows};
  Histogram step_tokens{kStepTokens};
  Histogram scheduler_seconds{kSchedulerSeconds};
  Histogram step_gap_seconds{kSchedulerSeconds};
  TimePoint last_step = kNever;
  uint64_t nonfinite_rows = 0;
  uint64_t engine_stalls = 0;

  int64_t kv_blocks_free = 0;
  int64_t kv_blocks_active = 0;
  int64_t kv_blocks_cached = 0;    // held by none, findable
  int64_t kv_blocks_reserved = 0;  // the scratch block of padding rows
  int64_t kv_blocks_total = 0;     // in all states
  uint64_t kv_evictions = 0;       // of cached blocks
  uint64_t kv_invariant_violations = 0;

  uint64_t sequences_paused = 0;
  uint64_t sequences_resumed = 0;
  // Filled in by Snapshot.
  int64_t stream_backlog_bytes = 0;
  int64_t request_bytes = 0;
  int64_t answer_bytes = 0;

  int64_t max_buffered_bytes = 0;  // the bound of each of the two above

  uint64_t model_bytes_loaded = 0;
  uint64_t model_bytes_total = 0;  // 0: not known yet

  std::array<uint64_t, kNumSpanFates> spans{};  // by SpanFate

  ServerState state = ServerState::kLoading;
  std::array<double, kNumStartupStages> startup_seconds{};
};

class Metrics {
 public:
  // Runs `change(MetricsData&)` under the mutex: one change is one moment.
  template <class Change>
  void Update(const Change& change) {
    std::lock_guard lock(mutex_);
    change(data_);
  }
  MetricsData Snapshot() const {
    std::lock_guard lock(mutex_);
    MetricsData data = data_;
    data.stream_backlog_bytes = stream_backlog_bytes_.load(std::memory_order_relaxed);
    data.request_bytes = request_bytes_.load(std::memory_order_relaxed);
    data.answer_bytes = answer_bytes_.load(std::memory_order_relaxed);
    return data;
  }

  // Unread output of all streams. Streams change it at every token, so it has no lock; no law needs it.
  std::atomic<int64_t>& stream_backlog_bytes() { return stream_backlog_bytes_; }
  // Bytes of messages that are being received, with the room that they may need, or wait to be processed.
  std::atomic<int64_t>& request_bytes() { return request_bytes_; }
  // Bytes of unread answers in one message.
  std::atomic<int64_t>& answer_bytes() { return answer_bytes_; }

 private:
  mutable std::mutex mutex_;
  MetricsData data_;
  std::atomic<int64_t> stream_backlog_bytes_{0};
  std::atomic<int64_t> request_bytes_{0};
  std::atomic<int64_t> answer_bytes_{0};
};

}  // namespace latentd
