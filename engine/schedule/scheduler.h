// Who runs next, by one rule: a sequence knows its tokens and how many of them are computed; each step deals out tokens
// while tokens, rows, logit rows and blocks last: first one to each running sequence that has only one to compute, with
// drafts to verify; then the rest, in the order of rank.h, to sequences that run and to those that wait. Prefill, its
// chunks, decode and what a preemption lost are all the same catching up. Owned by the Engine; engine thread only.
//
// Blocks are taken as sequences grow (docs/spec/scheduler.md 4). Where none is left the lowest-ranked sequence is
// preempted: what it computed stays findable in the prefix cache for as long as there is room, and it waits again.
//
// Plans are committed in the order in which they were made. Between Plan and Commit anything may be called, another
// Plan too: a sequence that ends while rows of it are in flight is retired. It gets no more rows, and keeps its memory
// and its blocks until the last plan with a row of it is committed.
#pragma once

#include <algorithm>
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
#include "engine/schedule/block_cache.h"
#include "engine/schedule/capacity.h"
#include "engine/schedule/draft_dealer.h"
#include "engine/schedule/expiries.h"
#include "engine/schedule/flight_recorder.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/scheduler_totals.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/step_allowance.h"
#include "engine/schedule/tenants.h"
#include "engine/schedule/waiting_queue.h"

namespace latentd {

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // CheckFits' status where the request can never run. Each of its sequences ends exactly once.
  absl::Status Add(Request request);
  // They end sequences in whatever phase they are: their blocks are back when the call returns, or with the plans in
  // flight. Unknown ids are late: no-op. `asked` is when the command came, where that is to be measured.
  void Cancel(RequestId id, FinishReason reason = FinishReason::kCancelled, TimePoint asked = kNever);
  void CancelSequence(SequenceId id, FinishReason reason = FinishReason::kCancelled);
  void CancelAll(FinishReason reason);
  // The request's sequences that have begun get no rows until Resume. Others and unknown ids: no-op. Both return how
  // many sequences changed.
  int Pause(RequestId id);
  int Resume(RequestId id);
  // Forgets what is cached and held by no sequence; returns the blocks that it freed.
  int64_t FlushPrefixCache();

  // Ends what expired by `now`, then deals out what is allowed. Takes time by the number of running sequences, whatever
  // waits. A plan that is filled again keeps its memory.
  void Plan(TimePoint now, const StepAllowance& allowance, BatchPlan& plan);
  // The plan was computed and its rows judged: but for those that ended meanwhile, their sequences have computed that,
  // with the accepted drafts, and it can be found from here on. Returns how many prompt tokens were computed for the
  // first time. The rows' sequences stay until TakeFinished.
  int Commit(const BatchPlan& plan);
  // kNonFiniteLogits also takes what the sequence stored out of the prefix cache, and ends the rest of its request.
  void Finish(Sequence& sequence, FinishReason reason);
  // Those that ended and have no rows in flight since the last call, for the engine to report.
  std::vector<std::unique_ptr<Sequence>> TakeFinished();
  bool has_finished() const { return !finished_.empty(); }
  void TakeDepartures(std::vector<RequestId>& departed);  // requests that left the queue since the last call, once
  // The first moment at which Plan has something to end, if it is not called before.
  TimePoint NextExpiry() const { return std::min(expiries_.next(), CrowdedExpiry()); }

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
  // Between two steps: tells what contradicts itself. Takes time by the number of blocks and sequences.
  absl::Status CheckInvariants() const;

  // Prompt tokens of all live requests that were neither computed nor found.
  int64_t num_pending_prompt_tokens() const { return num_pending_prompt_tokens_; }
  int num_waiting() const { return waiting_.size(); }
  int num_running() const { return static_cast<int>(running_.size()); }
  int num_paused() const { return static_cast<int>(paused_.size()); }
  const SchedulerTotals& totals() const { return totals_; }
  const BlockCache& cache() const { return cache_; }
  const Tenants& tenants() const { return tenants_; }
  const WaitingQueue& waiting() const { return waiting_; }
  // Any thread may read both: what others can find in the prefix cache as it changes, what was decided and done.
  const KvEvents& kv_events() const { return kv_events_; }
  const FlightRecorder& recorder() const { return recorder_; }
  FlightRecorder& recorder() { return recorder_; }
  const SchedulerOptions& options() const { return options_; }
  const Capacity& capacity() const { return capacity_; }

 private:
  using Sequences = std::list<Sequence*>;

  // Tokens of one sequence that a step may get.
  struct Share {
    Sequence& sequence;
    int first = 0;  // position
    int most = 0;   // that its blocks, and those it can take, have room for
  };

  // `act(Sequence&)` may end the sequence.
  template <class Act>
  void ForRequest(RequestId id, const Act& act) {
    auto next = sequences_.lower_bound({.request = id});
    while (next != sequences_.end() && next->first.request == id) act(*(next++)->second);
  }
  TimePoint Expiry(const Sequence& sequence) const;
  TimePoint LatestStart(const Request& request, int num_prompt_tokens) const;
  void RefreshExpiry(Sequence& sequence);
  void EndExpired(TimePoint now);
  bool PutOff(Sequence& sequence, TimePoint now);
  TimePoint CrowdedExpiry() const;
  FinishReason ExpiredIn(const Sequence& sequence, TimePoint now) const;

  // Between phases.
  void Enter(Sequence& sequence, SequencePhase phase);
  void Leave(Sequence& sequence);
  void EnterRunning(Sequence& sequence);
  void Fork(const Sequence& first);
  void GiveBack(Sequence& sequence);
  void Release(std::unique_ptr<Sequence> sequence);
  void ReleaseRetired(const Sequence& sequence);

  // Blocks.
  PrefixKey KeyOf(const Sequence& sequence) const;
  int ReusableLimit(const Sequence& sequence) const;
  int Watermark() const;
  template <class Accepts>
  Sequence* LowestRanked(const Sequences& among, const Accepts& accepts) const;
  Sequence* FindVictim() const;
  void Preempt(Sequence& sequence, PreemptionReason reason);
  bool FindsNoPlace(const Sequence& sequence) const;
  void MakeWayForClass();
  void MakeRoomForDecoding();
  bool MakeRoomFor(const Sequence& sequence, int num_needed);

  // Dealing.
  void SortRunning();
  int RowsForDecoding();
  int NumUndealt(const BatchPlan& plan) const;
  void DealToDecoding(int most_rows, const StepAllowance& allowance, BatchPlan& plan);
  DraftRoom RoomForDrafts(const StepAllowance& allowance, const BatchPlan& plan) const;
  StepAllowance ForPrompts(const StepAllowance& given, const BatchPlan& plan);
  std::optional<WaitReason> DealToPrefill(const StepAllowance& allowance, BatchPlan& plan);
  std::optional<WaitReason> Lacks(const StepAllowance& allowance, const BatchPlan& plan) const;
  PlannedRow Deal(const Share& share, const BatchPlan& plan, const StepAllowance& allowance) const;
  void ContinuePrefill(Sequence& sequence, const StepAllowance& allowance, BatchPlan& plan);
  std::optional<WaitReason> Admit(Sequence& sequence, const StepAllowance& allowance, BatchPlan& plan);
  void Start(Sequence& sequence, const PrefixMatch& match, BatchPlan& plan);
  void CountLookup(Sequence& sequence, const PrefixMatch& match);
  void AddRow(const PlannedRow& row, const StepAllowance& allowance, BatchPlan& plan);
  int CommitRow(const PlannedRow& row);
  void Publish(Sequence& sequence, TailRule rule);

  const SchedulerOptions options_;
  const Capacity capacity_;
  FlightRecorder recorder_;
  KvEvents kv_events_;
  BlockCache cache_;  // before the sequences: their tables return to it
  DraftDealer drafts_;
  Tenants tenants_;
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::map<SequenceId, std::unique_ptr<Sequence>> retired_;  // ended, with rows in flight
  std::vector<std::unique_ptr<Sequence>> finished_;          // ended, without blocks

  // sequences_ by phase, each in one of them but those that await their prompt; none is walked but the running ones.
  WaitingQueue waiting_;
  Sequences running_;    // the one served longest ago goes first
  Sequences paused_;     // the one paused last stands last
  Sequences elsewhere_;  // the others: so that what moves takes nothing from the heap
  Expiries expiries_;    // of sequences_
  PriorityCounts running_by_priority_{};

  std::vector<Sequence*> decoding_, prefilling_;  // the running ones, for the plan that is being made
  double most_of_one_ = 0.0;                      // work of one prompt

  std::vector<RequestId> departed_;  // since TakeDepartures
  SchedulerTotals totals_;
  TimePoint now_{};                 // of the last plan
  double tokens_per_second_ = 0.0;  // as the last plan was told
  int64_t num_pending_prompt_tokens_ = 0;
  uint64_t num_arrived_ = 0, num_turns_ = 0;
  int num_started_ = 0;
};

}  // namespace latentd
