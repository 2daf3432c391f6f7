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

const std::vector<MetricDescriptor>& VllmCatalog() {
  static const MetricRows catalog = [] {
    MetricRows rows;
    AddVllmRows(rows);
    return rows;
  }();
  return catalog;
}

const std::vector<UnavailableMetric>& NotYetExported() {
  static const std::vector<UnavailableMetric> metrics = {
      {"latentd_expert_imbalance_ratio", "routed counts stay inside the kernels; nothing brings them to the engine"},
      {"latentd_expert_tokens_total", "as above"},
      {"latentd_requests_finished_total{reason=\"ENGINE_FAULT\"}",
       "nothing is known to bring it about: a broken invariant drains the process; a status that named no cause would "
       "be counted so, under its own code"},
  };
  return metrics;
}

}  // namespace latentd
