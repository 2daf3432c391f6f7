// Metrics over HTTP for Prometheus: every scrape is one Metrics::Snapshot, so its numbers belong to one moment. All
// series are there from the start.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <prometheus/metric_family.h>

#include "engine/metrics.h"
#include "latentd/v1/models.pb.h"

namespace prometheus {
class Exposer;
}

namespace latentd {

class SnapshotCollectable;

// What never changes while the process serves.
struct ExporterFacts {
  v1::Model model = {};
  uint64_t kv_bytes = 0;                                         // of the whole latent cache
  std::vector<std::pair<std::string, std::string>> config = {};  // name and value of each knob, for config_info
};

std::vector<prometheus::MetricFamily> CollectFamilies(const MetricsData& data, const ExporterFacts& facts);

class MetricsExporter {
 public:
  // `address` is HOST:PORT. `metrics` must outlive the exporter.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address, const Metrics& metrics);
  ~MetricsExporter();

  // Until then the facts are empty: the model is loading.
  void SetFacts(ExporterFacts facts);
  const std::string& address() const { return address_; }  // with the port that was bound

 private:
  MetricsExporter(std::unique_ptr<prometheus::Exposer> exposer, std::shared_ptr<SnapshotCollectable> collectable,
                  std::string address);

  std::shared_ptr<SnapshotCollectable> collectable_;  // the exposer holds it weakly
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace latentd
