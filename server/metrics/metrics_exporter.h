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
#include "server/access/access.h"
#include "server/metrics/http_server.h"
#include "server/metrics/scrape.h"
#include "server/process/serving_state.h"

namespace latentd {

std::vector<prometheus::MetricFamily> CollectFamilies(const MetricsData& data, const ExporterFacts& facts,
                                                      const ServingState::View& view = {},
                                                      const AccessFacts& access = {}, const MetricsCompat& compat = {});

// Owned by the Listeners; every method by any thread.
class MetricsExporter {
 public:
  // All must outlive the exporter.
  struct Parts {
    const Metrics& metrics;
    const ServingState& state;
    const Access access;  // says who may read /metrics; /health and /ready tell everybody
    const MetricsCompat compat = {};
  };
  // `address` is HOST:PORT.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address, const Parts& parts);

  // Until then the facts are empty: the model is loading.
  void SetFacts(ExporterFacts facts);
  const Address& address() const { return server_->address(); }  // with the port that was bound

 private:
  explicit MetricsExporter(const Parts& parts) : parts_(parts) {}

  // 0, or the status with which it is refused.
  int Refuses(const HttpRequest& request);
  HttpAnswer AnswerTo(std::string_view path);
  HttpAnswer Page();
  AccessFacts AccessNow() const;

  const Parts parts_;
  std::mutex mutex_;
  ExporterFacts facts_;                 // guarded by mutex_
  std::unique_ptr<HttpServer> server_;  // last: its thread uses all of the above
};

}  // namespace latentd
