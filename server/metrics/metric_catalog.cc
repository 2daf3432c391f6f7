#include "server/metrics/metric_catalog.h"

#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

MetricRows MakeCatalog() {
  MetricRows rows;
  AddRequestRows(rows);
  AddEngineRows(rows);
  AddProcessRows(rows);
  return rows;
}

}  // namespace

const std::vector<MetricDescriptor>& MetricCatalog() {
  static const MetricRows catalog = MakeCatalog();
  return catalog;
}

const std::vector<UnavailableMetric>& NotYetExported() {
  static const std::vector<UnavailableMetric> metrics = {
      {"latentd_prompt_tokens_total{source=\"recomputed\"}", "no sequence is preempted, so none is computed twice"},
      {"latentd_preempted_seconds", "no sequence is preempted"},
      {"latentd_preemptions_total", "no sequence is preempted: blocks for the worst case are promised at admission"},
      {"latentd_prefix_cache_queried_tokens_total", "there is no prefix cache"},
      {"latentd_prefix_cache_hit_tokens_total", "there is no prefix cache"},
      {"latentd_kv_evictions_total", "there is no prefix cache to evict from"},
      {"latentd_kv_invariant_violations_total",
       "no checker samples the cache in production; a broken invariant aborts the process, so a 0 here would say "
       "nothing"},
      {"latentd_expert_imbalance_ratio", "routed counts stay inside the kernels; nothing brings them to the engine"},
      {"latentd_expert_tokens_total", "as above"},
      {"latentd_requests_finished_total{reason=\"ENGINE_FAULT\"}",
       "nothing is known to bring it about: a broken invariant aborts the process; a status that named no cause would "
       "be counted so, under its own code"},
      {"latentd_spec_drafted_tokens_total", "there is no speculation"},
      {"latentd_spec_accepted_tokens_total", "there is no speculation"},
  };
  return metrics;
}

const std::vector<UnavailableMetric>& AlwaysZero() {
  static const std::vector<UnavailableMetric> metrics = {
      {"latentd_kv_blocks{state=\"cached\"}", "a law names it; there is no prefix cache"},
      {"latentd_prompt_tokens_total{source=\"prefix_cache\"}", "a law names it; there is no prefix cache"},
  };
  return metrics;
}

}  // namespace latentd
