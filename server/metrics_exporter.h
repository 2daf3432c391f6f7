// Metrics over HTTP for Prometheus: every scrape is one Metrics::Snapshot, so its numbers belong to one moment. All
// series are there from the start.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "engine/metrics.h"
#include "latentd/v1/models.pb.h"

namespace prometheus {
class Exposer;
}

namespace latentd {

std::vector<prometheus::MetricFamily> CollectFamilies(const MetricsData& data, const v1::Model& model);

class MetricsExporter {
 public:
  // `address` is HOST:PORT. Both references must outlive the exporter.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address, const Metrics& metrics,
                                                                const v1::Model& model);
  ~MetricsExporter();

  const std::string& address() const { return address_; }  // with the port that was bound

 private:
  MetricsExporter(std::unique_ptr<prometheus::Exposer> exposer, std::shared_ptr<prometheus::Collectable> collectable,
                  std::string address);

  std::shared_ptr<prometheus::Collectable> collectable_;  // the exposer holds it weakly
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace latentd
