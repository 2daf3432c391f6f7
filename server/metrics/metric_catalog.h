// The one home of every exported metric: a row has its name, labels, help text and how its series are read. The
// exporter is a loop over the rows, deploy/METRICS.md is printed from them. Made at the first use, then constant; any
// thread.
#pragma once

#include <string>
#include <vector>

#include "server/metrics/metric_descriptor.h"

namespace latentd {

// Series that specification or law names and that cannot have a value yet.
struct UnavailableMetric {
  std::string name;
  std::string reason;
};

const std::vector<MetricDescriptor>& MetricCatalog();

// What --metrics-compat=vllm adds.
const std::vector<MetricDescriptor>& VllmCatalog();

// Not exported at all.
const std::vector<UnavailableMetric>& NotYetExported();

// deploy/METRICS.md.
std::string RenderMetricsPage();

}  // namespace latentd
