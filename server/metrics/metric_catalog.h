// The one home of every exported metric: a row has its name, labels, help text and how its series are read. The
// exporter is a loop over the rows, deploy/METRICS.md is printed from them. Made at the first use, then constant; any
// thread.
#pragma once

#include <functional>
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
  const Histogram* histogram = nullptr;  // only of histograms
};

struct MetricDescriptor {
  std::string name;  // in full
  MetricKind kind;
  std::string unit;
  std::string help;
  std::vector<LabelDescriptor> labels;
  std::function<std::vector<Series>(const Scrape&)> read;  // what it returns points into the scrape
};

// Series that specification or law names and that cannot have a value yet.
struct UnavailableMetric {
  std::string name;
  std::string reason;
};

const std::vector<MetricDescriptor>& MetricCatalog();

// Not exported at all.
const std::vector<UnavailableMetric>& NotYetExported();
// Exported because a law names them, and true, but always 0.
const std::vector<UnavailableMetric>& AlwaysZero();

// deploy/METRICS.md.
std::string RenderMetricsPage();

}  // namespace latentd
