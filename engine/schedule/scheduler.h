// Who runs next, by one rule: a sequence knows its tokens and how many of them are computed; each step deals out
// tokens, first to running sequences, then to waiting ones, while tokens, rows, logit rows and blocks last. Prefill,
// its chunks and decode are all the same catching up. Owned by the Engine; engine thread only.
//
// Plans are committed in the order in which they were made. Between Plan and Commit anything may be called, another
// Plan too: a sequence that ends while rows of it are in flight is retired. It gets no more rows, and keeps its memory
// and its blocks until the last plan with a row of it is committed.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/schedule/batch_plan.h"
#include "engine/schedule/block_pool.h"
#include "engine/schedule/capacity.h"
#include "engine/schedule/expiries.h"
#include "engine/schedule/flight_recorder.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/step_allowance.h"

namespace latentd {

struct SchedulerOptions {
  BlockPoolOptions pool = {};
  int max_step_tokens = 512;
  int max_step_rows = 64;
  int max_step_logits = 64;
  int chunk_tokens = 0;                 // most tokens of one sequence in a step; 0: as many as the step has left
  int max_context_tokens = 0;           // prompt and output together
  double slow_consumer_seconds = 30.0;  // a sequence paused for so long ends
  size_t num_recorded = 1024;           // decisions that the flight recorder keeps: a power of two
};
// By default a step has room for a token, and for the logits, of each of its rows. Where it has less, rows wait for the
// next step.
static_assert(SchedulerOptions{}.max_step_rows <= SchedulerOptions{}.max_step_logits &&
              SchedulerOptions{}.max_step_rows <= SchedulerOptions{}.max_step_tokens);

// Requests that have left the queue so far, by their first rows or by an end before them. A sequence leaves it once.
struct QueueDepartures {
  int64_t requests = 0;
  int64_t tokens = 0;  // of their prompts
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // CheckFits' status where the request can never run.
  absl::Status Add(Request request);
  // Both end sequences in whatever phase they are, Cancel all of the request: their blocks are back when the call
  // returns, or with the plans in flight. Unknown ids are late: no-op. `asked` is when the command came, where that is
  // to be measured.
  void Cancel(RequestId id, FinishReason reason = FinishReason::kCancelled, TimePoint asked = kNever);
  void CancelAll(FinishReason reason);
  // The request's running sequences get no rows until Resume. Other phases and unknown ids: no-op. Both return how many
  // sequences changed.
  int Pause(RequestId id);
  int Resume(RequestId id);

  // Ends what expired by `now`, then deals out what is allowed, at most max_step_tokens tokens. Takes time by the
  // number of running sequences, whatever waits. A plan that is filled again keeps its memory.
  void Plan(TimePoint now, const StepAllowance& allowance, BatchPlan& plan);
  // The plan was computed: its sequences' `computed` catches up, but for those that ended meanwhile. Returns how many
  // prompt tokens were computed for the first time. The rows' sequences stay until TakeFinished.
  int Commit(const BatchPlan& plan);
  void Finish(Sequence& sequence, FinishReason reason);
  // Those that ended and have no rows in flight since the last call, for the engine to report.
  std::vector<std::unique_ptr<Sequence>> TakeFinished();
  bool has_finished() const { return !finished_.empty(); }

  // The first moment at which Plan has something to end, if it is not called before.
  TimePoint NextExpiry() const { return expiries_.next(); }

  // Runs `visit(const Sequence&)` for each that has not ended, by id.
  template <class Visit>
  void ForEach(const Visit& visit) const {
    for (const auto& [id, sequence] : sequences_) visit(*sequence);
  }

  // The same for each that may hold blocks: they, and then those that ended with rows in flight.
  template <class Visit>
  void ForEachHolder(const Visit& visit) const {
    ForEach(visit);
    for (const auto& [id, sequence] : retired_) visit(*sequence);
  }

  // Prompt tokens of all live sequences that were never computed.
  int64_t num_pending_prompt_tokens() const { return num_pending_prompt_tokens_; }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  int num_running() const { return static_cast<int>(running_.size()); }
  int num_paused() const { return static_cast<int>(paused_.size()); }
  const QueueDepartures& departures() const { return departures_; }
  const BlockPool& pool() const { return pool_; }
  // Engine and Scheduler write it; any thread may read it.
  FlightRecorder& recorder() { return recorder_; }
  const FlightRecorder& recorder() const { return recorder_; }
  const SchedulerOptions& options() const { return options_; }
  const Capacity& capacity() const { return capacity_; }

 private:
  using Sequences = std::list<Sequence*>;

  template <class Act>
  void ForRequest(RequestId id, const Act& act);
  Sequences& ListOf(SequencePhase phase);
  void MoveTo(Sequence& sequence, SequencePhase phase);
  TimePoint Expiry(const Sequence& sequence) const;
  void RefreshExpiry(Sequence& sequence);
  void EndExpired(TimePoint now);
  std::optional<WaitReason> DealToRunning(const StepAllowance& allowance, BatchPlan& plan);
  std::optional<WaitReason> DealToWaiting(TimePoint now, const StepAllowance& allowance, BatchPlan& plan);
  std::optional<WaitReason> Lacks(const StepAllowance& allowance, const BatchPlan& plan) const;
  PlannedRow Deal(Sequence& sequence, const BatchPlan& plan, const StepAllowance& allowance) const;
  void AddRow(const PlannedRow& row, const StepAllowance& allowance, BatchPlan& plan);
  bool Admit(Sequence& sequence, TimePoint now, BatchPlan& plan);
  void LeaveQueue(const Sequence& sequence);
  void Release(std::unique_ptr<Sequence> sequence);
  void ReleaseRetired(const Sequence& sequence);

  const SchedulerOptions options_;
  const Capacity capacity_;
  FlightRecorder recorder_;
  BlockPool pool_;  // before the sequences: their tables return to it
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::map<SequenceId, std::unique_ptr<Sequence>> retired_;  // ended, with rows in flight
  std::vector<std::unique_ptr<Sequence>> finished_;          // ended, without blocks

  // sequences_ by phase, each in one of them; none is walked but the running ones.
  Sequences waiting_;  // the first to arrive goes first
  Sequences running_;  // the one served longest ago goes first
  Sequences paused_;   // the one paused last stands last
  Expiries expiries_;  // of sequences_
  QueueDepartures departures_;
  int64_t num_pending_prompt_tokens_ = 0;
  uint64_t num_arrived_ = 0;
  uint64_t num_turns_ = 0;
};

}  // namespace latentd
