// One model, many sequences, one step at a time: Plan, Launch, Collect, Commit. Single-threaded, with no queue and no
// clock of its own, so that a simulator can drive it as well as EngineThread does.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/schedule/scheduler.h"
#include "engine/step/batch_builder.h"
#include "engine/step/sequence_status.h"
#include "engine/step/step_budget.h"
#include "engine/step/step_executor.h"
#include "engine/step/step_output.h"

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

  // Each sequence that was added ends exactly once in some StepOutput.
  absl::Status Add(Request request);
  // These release the sequence's blocks at once; its end comes with the next step. Late ones are no-ops. `asked` is
  // when the command came.
  void Cancel(RequestId id, FinishReason reason = FinishReason::kCancelled, TimePoint asked = kNever) {
    scheduler_.Cancel({.request = id}, reason, asked);
  }
  void CancelAll(FinishReason reason) { scheduler_.CancelAll(reason); }
  void Pause(RequestId id) { since_report_.paused += scheduler_.Pause({.request = id}) ? 1 : 0; }
  void Resume(RequestId id) { since_report_.resumed += scheduler_.Resume({.request = id}) ? 1 : 0; }

  StepOutput Step(TimePoint now);
  // Tells when the last Step, which gave `output`, was over: stamps its ends and reports it to Metrics in one update.
  void FinishStep(TimePoint now, StepOutput& output);

  // When an idle engine has to be stepped even if no command comes.
  TimePoint NextExpiry() const { return scheduler_.NextExpiry(); }
  const Scheduler& scheduler() const { return scheduler_; }
  // Every sequence that has not ended, by id. Between steps.
  std::vector<SequenceStatus> Describe() const;

 private:
  // Requests that changed phase, and tokens, since the last report.
  struct Progress {
    int started = 0;
    int first_tokens = 0;
    int ended_in[kNumPhases] = {};
    int prompt_tokens = 0;
    int abandoned_prompt_tokens = 0;
    int nonfinite_rows = 0;
    double work = 0.0;  // of the step, as StepAllowance measures it
    WaitCounts waits{};
    StepKind kind = StepKind::kPrefill;
  };
  // What commands did between steps. A step in which nothing happens reports nothing, so this waits for one that does.
  struct Commanded {
    uint64_t admitted_prompt_tokens = 0;
    uint64_t paused = 0;
    uint64_t resumed = 0;
    bool operator==(const Commanded&) const = default;
  };

  StepAllowance Allowance() const;
  void Commit(const BatchPlan& plan, std::span<const SampleResult> results, StepOutput& output);
  void CommitRow(const PlannedRow& row, std::span<const SampleResult> results, SequenceOutput& output);
  void CommitToken(Sequence& sequence, const SampleResult& result);
  void ReportEnds(StepOutput& output);
  void StampTokens(TimePoint now);
  void ReportStep(TimePoint now, const StepOutput& output, MetricsData& data) const;
  void ReportTokens(MetricsData& data) const;
  void ReportPhases(MetricsData& data) const;
  void ReportBlocks(MetricsData& data) const;

  StepExecutor& executor_;
  const EngineOptions options_;
  Metrics& metrics_;
  Scheduler scheduler_;
  BatchBuilder builder_;
  StepBudget budget_;

  // Of the last Step, until the next one.
  BatchPlan plan_;
  TimePoint step_started_{};
  TimePoint last_busy_finish_ = kNever;  // of the step before, if it left work behind
  std::vector<Sequence*> generating_;    // got a token
  std::map<SequenceId, std::unique_ptr<Sequence>> finished_;
  Progress progress_;

  Commanded since_report_;
};

}  // namespace latentd
