#include "engine/step/step_reporter.h"

#include <cstddef>

namespace latentd {
namespace {

void ReportPhases(const StepRecord& record, MetricsData& data) {
  RequestPhases& phases = data.requests_in_flight;
  phases.Move(Phase::kQueued, Phase::kPrefill, record.started_requests);
  phases.Move(Phase::kPrefill, Phase::kDecode, record.first_tokens);
  for (const Phase phase : {Phase::kQueued, Phase::kPrefill, Phase::kDecode}) {
    phases.Move(phase, Phase::kOutput, record.ended_in[static_cast<size_t>(phase)]);
  }
}

void ReportLevels(const SchedulerLevels& levels, MetricsData& data) {
  data.prompt_tokens_pending = levels.pending_prompt_tokens;
  data.kv_blocks_free = levels.free_blocks;
  data.kv_blocks_promised = levels.promised_blocks;
  data.kv_blocks_active = levels.active_blocks;
  data.kv_blocks_reserved = levels.reserved_blocks;
  data.kv_blocks_total = levels.total_blocks;
}

}  // namespace

StepReporter::StepReporter(Metrics& metrics, const SchedulerLevels& levels) : metrics_(metrics) {
  metrics_.Update([&](MetricsData& data) { ReportLevels(levels, data); });
}

void StepReporter::Report(const StepRecord& record, const SchedulerLevels& levels) {
  metrics_.Update([&](MetricsData& data) {
    data.sequences_paused += news_.paused;
    data.sequences_resumed += news_.resumed;
    data.prompt_tokens_admitted += news_.admitted_prompt_tokens;
    data.prompt_tokens_computed += static_cast<uint64_t>(record.prompt_tokens);
    data.prompt_tokens_abandoned += static_cast<uint64_t>(record.abandoned_prompt_tokens);
    if (record.num_rows > 0) ReportStep(record, data);
    ReportPhases(record, data);
    ReportLevels(levels, data);
  });
  news_ = {};
  const bool is_idle = record.num_rows == 0 && record.num_ends() == 0;
  last_busy_finish_ = levels.has_work && !is_idle ? record.finished : kNever;
}

void StepReporter::ReportStep(const StepRecord& record, MetricsData& data) const {
  const Duration duration = record.finished - record.started;
  data.step_seconds[static_cast<size_t>(record.kind)].Observe(Seconds(duration));
  data.step_rows.Observe(record.num_rows);
  data.step_tokens.Observe(record.num_tokens);
  if (record.model_duration) data.scheduler_seconds.Observe(Seconds(duration - *record.model_duration));
  if (last_busy_finish_ != kNever) data.step_gap_seconds.Observe(Seconds(record.started - last_busy_finish_));
  for (size_t i = 0; i < kNumWaitReasons; ++i) data.queue_waits[i] += record.waits[i];
  data.nonfinite_rows += static_cast<uint64_t>(record.nonfinite_rows);
  data.last_step = record.finished;
}

}  // namespace latentd
