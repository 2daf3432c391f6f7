// One exported metric: its name, its labels, its help text, and the function that reads its series from a scrape.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "server/metrics/scrape.h"

namespace latentd {

enum class MetricKind { kCounter, kGauge, kHistogram };

struct LabelDescriptor {
  std::string name;
  std::vector<std::string> values;  // all of them; empty where they depend on model or configuration
};

// One value of a metric at one moment, or one histogram of the scrape.
struct Series {
  std::vector<std::pair<std::string, std::string>> labels = {};
  double value = 0.0;
  const Histogram* histogram = nullptr;         // only of histograms
  std::shared_ptr<const Histogram> owned = {};  // that one, where it was added up for this scrape
};

struct MetricDescriptor {
  std::string name;  // in full
  MetricKind kind;
  std::string unit;
  std::string help;
  std::vector<LabelDescriptor> labels;
  std::function<std::vector<Series>(const Scrape&)> read;  // what it returns points into the scrape
};

}  // namespace latentd
