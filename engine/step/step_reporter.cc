#include "engine/step/step_reporter.h"

#include <cmath>
#include <cstddef>
#include <vector>

namespace latentd {
namespace {

constexpr double kRecentServiceSeconds = 10.0;

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
  data.kv_blocks_active = levels.active_blocks;
  data.kv_blocks_cached = levels.cached_blocks;
  data.kv_blocks_reserved = levels.reserved_blocks;
  data.kv_blocks_total = levels.total_blocks;
  data.kv_evictions = levels.num_evictions;
  const SchedulerTotals& totals = levels.totals;
  data.prompt_tokens_cached = data.prefix_hit_tokens = totals.hit_tokens;
  data.prefix_queried_tokens = totals.queried_tokens;
  data.prefix_lost_tokens = totals.lost_tokens;
  data.recomputed_tokens = totals.recomputed_tokens;
  data.preemptions = totals.preemptions;
  data.queued_by_priority = levels.waiting;
}

void AddTenant(TenantTotals now, double decay, std::vector<TenantTotals>& all, size_t place) {
  if (place == all.size()) all.push_back({.name = now.name, .weight = now.weight});
  TenantTotals& tenant = all[place];
  const double served = static_cast<double>(now.service_tokens - tenant.service_tokens) / tenant.weight;
  tenant.recent_service = tenant.recent_service * decay + served;
  tenant.service_tokens = now.service_tokens;
  tenant.is_active = now.is_active;
}

void ReportTenants(const Tenants& tenants, double seconds, MetricsData& data) {
  const double decay = std::exp(-seconds / kRecentServiceSeconds);
  size_t place = 0;
  tenants.ForEachListed([&](const Tenant& tenant) {
    AddTenant({.name = tenant.name,
               .weight = tenant.rule.weight,
               .service_tokens = static_cast<uint64_t>(tenant.service_tokens),
               .is_active = tenant.num_sequences > 0},
              decay, data.tenants, place++);
  });
  AddTenant({.weight = tenants.rules().of_others.weight,
             .service_tokens = static_cast<uint64_t>(tenants.service_tokens_of_others()),
             .is_active = tenants.num_sequences_of_others() > 0},
            decay, data.tenants, place);
}

}  // namespace

StepReporter::StepReporter(Metrics& metrics, const SchedulerLevels& levels) : metrics_(metrics) {
  metrics_.Update([&](MetricsData& data) {
    ReportLevels(levels, data);
    ReportTenants(*levels.tenants, 0.0, data);
  });
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
    ReportTenants(*levels.tenants, Seconds(record.finished - last_report_), data);
  });
  last_report_ = record.finished;
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
  for (size_t i = 0; i < kMaxDrafts; ++i) {
    data.spec_drafted_tokens[i] += static_cast<uint64_t>(record.drafted_tokens[i]);
    data.spec_accepted_tokens[i] += static_cast<uint64_t>(record.accepted_tokens[i]);
  }
  data.spec_k = record.auto_drafts;
  data.last_step = record.finished;
}

}  // namespace latentd
