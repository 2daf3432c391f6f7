// Metrics over HTTP for Prometheus: every scrape is one Metrics::Snapshot, so its numbers belong to one moment. All
// series are there from the start. Beside them, for orchestrators that speak HTTP: /health (liveness) and /ready.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <prometheus/metric_family.h>

#include "engine/metrics.h"
#include "server/metrics/http_server.h"
#include "server/metrics/scrape.h"
#include "server/process/serving_state.h"

namespace latentd {

std::vector<prometheus::MetricFamily> CollectFamilies(const MetricsData& data, const ExporterFacts& facts,
                                                      const ServingState::View& view = {},
                                                      const MetricsCompat& compat = {});

// Owned by the Listeners; every method by any thread.
class MetricsExporter {
 public:
  // `address` is HOST:PORT. `metrics` and `state` must outlive the exporter.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address, const Metrics& metrics,
                                                                const ServingState& state, MetricsCompat compat = {});

  // Until then the facts are empty: the model is loading.
  void SetFacts(ExporterFacts facts);
  const Address& address() const { return server_->address(); }  // with the port that was bound

 private:
  MetricsExporter(const Metrics& metrics, const ServingState& state, MetricsCompat compat)
      : metrics_(metrics), state_(state), compat_(std::move(compat)) {}

  HttpAnswer AnswerTo(std::string_view path);
  HttpAnswer Page();

  const Metrics& metrics_;
  const ServingState& state_;
  const MetricsCompat compat_;
  std::mutex mutex_;
  ExporterFacts facts_;                 // guarded by mutex_
  std::unique_ptr<HttpServer> server_;  // last: its thread uses all of the above
};

}  // namespace latentd
