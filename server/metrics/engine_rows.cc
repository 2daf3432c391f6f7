// Metrics of the engine: its cache and its steps.
#include <array>
#include <chrono>

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
         "Blocks of the latent cache; promised ones are empty and kept for running requests, reserved is the "
         "scratch block of padding rows",
         By("state", {"free", "promised", "active", "cached", "reserved"},
            [](const Scrape& scrape) {
              constexpr int64_t kCached = 0;  // there is no prefix cache
              const MetricsData& data = scrape.data;
              return std::array{data.kv_blocks_free, data.kv_blocks_promised, data.kv_blocks_active, kCached,
                                data.kv_blocks_reserved};
            }),
         rows);
  AddRow({kGauge, "latentd_kv_blocks_capacity", "blocks"}, "Blocks of the latent cache in all states",
         One(&MetricsData::kv_blocks_total), rows);
  AddRow({kGauge, "latentd_kv_bytes", "bytes"}, "Memory of the latent cache",
         One([](const Scrape& scrape) { return scrape.facts.kv_bytes; }), rows);
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

}  // namespace

void AddEngineRows(MetricRows& rows) {
  AddCache(rows);
  AddSteps(rows);
}

}  // namespace latentd
