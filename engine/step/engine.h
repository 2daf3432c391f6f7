// One model, many sequences, one step at a time: Begin plans and launches it, Complete collects and commits it.
// Single-threaded, with no queue and no clock of its own, so that a simulator can drive it as well as EngineLoop does.
//
// Commands may come between Begin and Complete. A sequence that they end gets nothing of the steps in flight, and its
// blocks are free again when those are complete.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/schedule/scheduler.h"
#include "engine/step/batch_builder.h"
#include "engine/step/sequence_status.h"
#include "engine/step/speculation.h"
#include "engine/step/step_budget.h"
#include "engine/step/step_executor.h"
#include "engine/step/step_in_flight.h"
#include "engine/step/step_output.h"
#include "engine/step/step_record.h"
#include "engine/step/step_reporter.h"

namespace latentd {

struct EngineOptions {
  SchedulerOptions scheduler = {};
  StepBudgetOptions step = {};
  VocabularyRules vocabulary = {};
};

class Engine {
 public:
  // Both references must outlive the engine.
  Engine(StepExecutor& executor, const EngineOptions& options, Metrics& metrics);

  // For the flight recorder: what is asked from here on was asked at `now`.
  void SetTime(TimePoint now) { scheduler_.recorder().SetTime(now); }

  // Each sequence that was added ends exactly once in some StepOutput.
  absl::Status Add(Request request);
  // These act on all sequences of the request. An end comes with the next step that is completed. Late ones are no-ops.
  // `asked` is when the command came.
  void Cancel(RequestId id, FinishReason reason = FinishReason::kCancelled, TimePoint asked = kNever) {
    scheduler_.Cancel(id, reason, asked);
  }
  void CancelSequence(SequenceId id, FinishReason reason) { scheduler_.CancelSequence(id, reason); }
  void CancelAll(FinishReason reason) { scheduler_.CancelAll(reason); }
  void Pause(RequestId id) { reporter_.Pause(scheduler_.Pause(id)); }
  void Resume(RequestId id) { reporter_.Resume(scheduler_.Resume(id)); }

  // Forgets every cached prefix that no sequence holds; returns the blocks that it freed.
  int64_t FlushPrefixCache() {
    reporter_.Flush();
    return scheduler_.FlushPrefixCache();
  }

  // Nothing where there is nothing to do before the next command or NextExpiry.
  std::optional<StepInFlight> Begin(TimePoint now);
  // Waits for the step's results, commits them, and reads the clock once when that is done. `output` is filled anew.
  void Complete(StepInFlight step, const Clock& clock, StepOutput& output);

  // As the Scheduler's.
  void TakeDepartures(std::vector<RequestId>& departed) { scheduler_.TakeDepartures(departed); }
  // The measured rate of prefill at the beginning of a context; 0: not yet.
  double tokens_per_second() const { return budget_.tokens_per_second(); }

  // When an idle engine has to be stepped even if no command comes.
  TimePoint NextExpiry() const { return scheduler_.NextExpiry(); }
  const Scheduler& scheduler() const { return scheduler_; }
  // Every sequence that has not ended, by id.
  std::vector<SequenceStatus> Describe() const;

 private:
  // BatchBuilder has one step's inputs, StepExecutor one step's results (of the last Launch): with two buffers in each
  // of them, two steps may be in flight.
  static constexpr int kMaxStepsInFlight = 1;

  // What Complete makes of a step.
  struct Completion {
    StepInFlight& step;
    StepOutput& output;
    StepRecord record;
  };

  StepAllowance Allowance() const;
  // Moves out of the results.
  void Commit(std::span<SampleResult> results, Completion& completion);
  void CommitRow(const PlannedRow& row, std::span<SampleResult> results, Completion& completion);
  void FailRow(const PlannedRow& row, StepRecord& record);
  void CommitTokens(const PlannedRow& row, std::span<const SampleResult> given, StepRecord& record);
  static void HandOut(std::span<SampleResult> given, const Sequence& sequence, StepOutput& output);
  void RecordStep(const StepRecord& record, const BatchPlan& plan);
  void ObserveDrafts(const BatchPlan& plan, double seconds);

  StepExecutor& executor_;
  const EngineOptions options_;
  Scheduler scheduler_;
  BatchBuilder builder_;
  StepBudget budget_;
  Speculation speculation_;
  StepReporter reporter_;

  int num_in_flight_ = 0;
  std::vector<StepInFlight> spare_;    // for their memory
  std::vector<Sequence*> generating_;  // got tokens in the step that is being completed
};

}  // namespace latentd
