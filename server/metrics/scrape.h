// All that one page of metrics is made of: the state of the daemon at one moment. A value for the length of a scrape.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/metrics.h"
#include "latentd/v1/models.pb.h"
#include "server/access/access.h"
#include "server/metrics/process_metrics.h"
#include "server/net/connection_table.h"
#include "server/process/serving_state.h"

namespace latentd {

// What never changes while the process serves.
struct ExporterFacts {
  v1::Model model = {};
  uint64_t kv_bytes = 0;                                         // of the whole latent cache
  std::vector<std::pair<std::string, std::string>> config = {};  // name and value of each knob, for config_info
};

// What the page has beside our own series.
struct MetricsCompat {
  bool has_vllm = false;
  std::string served_name = {};  // of the model, known before it is loaded
};

struct AccessFacts {
  AccessCounts counts = {};
  CertificateCounts certificates = {};
};

struct Scrape {
  const MetricsData& data;
  const ExporterFacts& facts;
  std::string_view served_name = {};
  ServingState::View view = {};
  ConnectionCounts connections = {};
  AccessFacts access = {};
  ProcessFacts process = {};
};

}  // namespace latentd
