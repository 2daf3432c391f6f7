// Who runs next, by one rule: a sequence knows its tokens and how many of them are computed; each step deals out
// tokens, first to running sequences, then to waiting ones, while tokens, rows, logit rows and blocks last. Prefill,
// its chunks and decode are all the same catching up. Owned by the Engine; engine thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <absl/status/status.h>

#include "engine/clock.h"
#include "engine/schedule/batch_plan.h"
#include "engine/schedule/block_pool.h"
#include "engine/schedule/request.h"
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
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // INVALID_ARGUMENT or FAILED_PRECONDITION where the request can never run. Looks at the options only: any thread.
  absl::Status CheckFits(const Request& request) const;

  absl::Status Add(Request request);
  // Both end the sequence in whatever phase it is: its blocks are back when the call returns. Unknown ids are late:
  // no-op. `asked` is when the command came, where that is to be measured.
  void Cancel(SequenceId id, FinishReason reason = FinishReason::kCancelled, TimePoint asked = kNever);
  void CancelAll(FinishReason reason);
  // Of a running sequence: it gets no rows until Resume. Other phases and unknown ids: no-op, and false.
  bool Pause(SequenceId id);
  bool Resume(SequenceId id);

  // Ends what expired by `now`, then deals out what is allowed, at most max_step_tokens tokens.
  BatchPlan Plan(TimePoint now, const StepAllowance& allowance);
  BatchPlan Plan(TimePoint now, int token_budget) { return Plan(now, StepAllowance{.tokens = token_budget}); }
  // The plan was computed: its sequences' `computed` catches up.
  void Commit(const BatchPlan& plan);
  void Finish(Sequence& sequence, FinishReason reason);
  // Those that ended since the last call, for the engine to report.
  std::vector<std::unique_ptr<Sequence>> TakeFinished();

  // The first moment at which Plan has something to end, if nobody calls before.
  TimePoint NextExpiry() const;

  // Runs `visit(const Sequence&)` for each that has not ended, by id.
  template <class Visit>
  void ForEach(const Visit& visit) const {
    for (const auto& [id, sequence] : sequences_) visit(*sequence);
  }

  // Prompt tokens of all live sequences that are not in the cache.
  int64_t NumPendingPromptTokens() const;
  int num_waiting() const { return CountIn(SequencePhase::kWaiting); }
  int64_t num_waiting_tokens() const { return num_waiting_tokens_; }
  int num_running() const { return CountIn(SequencePhase::kRunning); }
  int num_paused() const { return CountIn(SequencePhase::kPaused); }
  const BlockPool& pool() const { return pool_; }
  const SchedulerOptions& options() const { return options_; }

 private:
  Sequence* Find(SequenceId id);
  int CountIn(SequencePhase phase) const { return phase_counts_[static_cast<size_t>(phase)]; }
  void MoveTo(Sequence& sequence, SequencePhase phase);
  int WorstCaseBlocks(const Request& request, int num_prompt_tokens) const;
  TimePoint Expiry(const Sequence& sequence) const;
  void EndExpired(TimePoint now);
  std::vector<Sequence*> RunnableInOrder() const;
  PlannedRow Deal(Sequence& sequence, const BatchPlan& plan, const StepAllowance& allowance) const;
  bool Admit(Sequence& sequence, TimePoint now);

  const SchedulerOptions options_;
  BlockPool pool_;  // before the sequences: their tables return to it
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::vector<std::unique_ptr<Sequence>> finished_;
  int phase_counts_[4] = {};  // of sequences_, by phase
  int64_t num_waiting_tokens_ = 0;
  uint64_t num_arrived_ = 0;
  uint64_t num_turns_ = 0;
};

}  // namespace latentd
