// Metrics of the engine: its cache, its tenants and its steps.
#include <array>
#include <chrono>
#include <vector>

#include "base/clock.h"
#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

constexpr auto kCounter = MetricKind::kCounter;
constexpr auto kGauge = MetricKind::kGauge;
constexpr auto kHistogram = MetricKind::kHistogram;

double UnixSeconds(TimePoint time) {
  if (time == kNever) return 0.0;
  const Duration ago = std::chrono::steady_clock::now() - time;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()) - Seconds(ago);
}

void AddCache(MetricRows& rows) {
  AddRow({kGauge, "latentd_kv_blocks", "blocks"},
         "Blocks of the latent cache: active ones belong to requests, cached ones to none and can be found by their "
         "prefix, reserved is the scratch block of padding rows",
         By("state", {"free", "active", "cached", "reserved"},
            [](const Scrape& scrape) {
              const MetricsData& data = scrape.data;
              return std::array{data.kv_blocks_free, data.kv_blocks_active, data.kv_blocks_cached,
                                data.kv_blocks_reserved};
            }),
         rows);
  AddRow({kGauge, "latentd_kv_blocks_capacity", "blocks"}, "Blocks of the latent cache in all states",
         One(&MetricsData::kv_blocks_total), rows);
  AddRow({kGauge, "latentd_kv_bytes", "bytes"}, "Memory of the latent cache",
         One([](const Scrape& scrape) { return scrape.facts.kv_bytes; }), rows);
  AddRow({kCounter, "latentd_kv_evictions_total", "blocks"}, "Cached blocks that made room for others",
         One(&MetricsData::kv_evictions), rows);
  AddRow({kCounter, "latentd_kv_invariant_violations_total", "violations"},
         "Checks of the cache's books that failed, of those made between steps: the daemon drains after the first",
         One(&MetricsData::kv_invariant_violations), rows);
}

void AddPrefixes(MetricRows& rows) {
  AddRow({kCounter, "latentd_prefix_cache_queried_tokens_total", "tokens"},
         "Prompt tokens that were looked for in the prefix cache", One(&MetricsData::prefix_queried_tokens), rows);
  AddRow({kCounter, "latentd_prefix_cache_hit_tokens_total", "tokens"}, "Of these, found there",
         One(&MetricsData::prefix_hit_tokens), rows);
  AddRow({kCounter, "latentd_prefix_cache_lost_tokens_total", "tokens"},
         "Of these, not taken though they are or were there: granularity counts those of a block's part that no block "
         "was left to copy to, eviction those that made room for others, salt those that belong to another salt or "
         "tenant",
         By("cause", kPrefixLossNames, &MetricsData::prefix_lost_tokens), rows);
  AddRow({kCounter, "latentd_preemptions_total", "sequences"},
         "Sequences that lost their blocks and wait again: none was left for one of a higher rank, or one of a higher "
         "priority waited",
         By("reason", kPreemptionReasonNames, &MetricsData::preemptions), rows);
}

void AddKvEvents(MetricRows& rows) {
  AddRow({kCounter, "latentd_kv_events_published_total", "events"},
         "Events of the prefix cache that ZeroMQ subscribers were told of, with kv-events-listen on",
         One(&MetricsData::kv_events_published), rows);
  AddRow({kCounter, "latentd_kv_events_missed_total", "events"},
         "Events that were overwritten before they could be published: subscribers got one AllBlocksCleared in their "
         "place. What a slow subscriber alone lost is not seen here: it asks for it again",
         One(&MetricsData::kv_events_missed), rows);
  AddRow({kCounter, "latentd_kv_event_replays_total", "replays"},
         "Requests to repeat events: whole from the number asked for, a snapshot where that was held no longer, "
         "unread where the subscriber did not take them, malformed where it named no number",
         By("result", kKvReplayNames, &MetricsData::kv_replays), rows);
}

// A tenant without requests so far has its series, too: the configuration names it.
MetricSource ByTenant() {
  return {.labels = {{"tenant", {}}}, .read = [](const Scrape& scrape) {
            std::vector<Series> all;
            for (const TenantTotals& tenant : scrape.data.tenants) {
              all.push_back(MakeSeries({{"tenant", tenant.name}}, tenant.service_tokens));
            }
            if (all.empty()) all.push_back(MakeSeries({{"tenant", ""}}, 0));
            return all;
          }};
}

void AddTenants(MetricRows& rows) {
  AddRow({kCounter, "latentd_tenant_service_tokens_total", "tokens"},
         "Prompt tokens and rejected drafts computed for a tenant, and twice the tokens generated; without a name: for "
         "all tenants that the "
         "configuration does not name",
         ByTenant(), rows);
  AddRow({kGauge, "latentd_tenant_fairness_index", ""},
         "How equal the recent service of the active tenants is, by weight: Jain's index, from 1/n (one of n has all) "
         "to 1; service of ten seconds ago counts 1/e",
         One([](const Scrape& scrape) { return FairnessIndex(scrape.data.tenants); }), rows);
}

void AddSteps(MetricRows& rows) {
  AddRow({kHistogram, "latentd_step_seconds", "seconds"}, "Duration of a step, by what its rows were computing",
         By("kind", kStepKindNames, &MetricsData::step_seconds), rows);
  AddRow({kHistogram, "latentd_step_tokens", "tokens"}, "Tokens computed in a step", One(&MetricsData::step_tokens),
         rows);
  AddRow({kHistogram, "latentd_step_rows", "sequences"}, "Sequences in a step", One(&MetricsData::step_rows), rows);
  AddRow({kHistogram, "latentd_scheduler_seconds", "seconds"}, "Part of a step outside of the model",
         One(&MetricsData::scheduler_seconds), rows);
  AddRow({kHistogram, "latentd_step_gap_seconds", "seconds"},
         "Between the end of a step that left work behind and the start of the next",
         One(&MetricsData::step_gap_seconds), rows);
  AddRow({kCounter, "latentd_nonfinite_rows_total", "rows"}, "Rows whose logits were not finite",
         One(&MetricsData::nonfinite_rows), rows);
  AddRow({kGauge, "latentd_last_step_timestamp_seconds", "seconds"}, "Unix time at the end of the last step; 0: none",
         One([](const Scrape& scrape) { return UnixSeconds(scrape.data.last_step); }), rows);
  AddRow({kCounter, "latentd_engine_stalls_total", "stalls"},
         "Times that the engine had work and finished no step for stall_seconds", One(&MetricsData::engine_stalls),
         rows);
}

void AddSpeculation(MetricRows& rows) {
  static constexpr const char* kPositions[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
  AddRow({kCounter, "latentd_spec_drafted_tokens_total", "tokens"},
         "Drafted tokens that a step verified, by their place among the drafts of their row",
         By("position", kPositions, &MetricsData::spec_drafted_tokens), rows);
  AddRow({kCounter, "latentd_spec_accepted_tokens_total", "tokens"}, "Of these, accepted: each needs those before it",
         By("position", kPositions, &MetricsData::spec_accepted_tokens), rows);
  AddRow({kGauge, "latentd_spec_k", "tokens"}, "Drafts of a row that speculate=auto chose last, or tries",
         One(&MetricsData::spec_k), rows);
}

}  // namespace

void AddEngineRows(MetricRows& rows) {
  AddCache(rows);
  AddPrefixes(rows);
  AddKvEvents(rows);
  AddTenants(rows);
  AddSteps(rows);
  AddSpeculation(rows);
}

}  // namespace latentd
