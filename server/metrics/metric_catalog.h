// The one home of every exported name, label and help text: the exporter emits what stands here, deploy/METRICS.md is
// printed from it, and a test compares both with the real output. Constant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace latentd {

enum class MetricKind { kCounter, kGauge, kHistogram };

struct LabelDescriptor {
  std::string name;
  std::vector<std::string> values;  // all of them; empty where they depend on model or configuration
};

struct MetricDescriptor {
  std::string name;  // in full
  MetricKind kind;
  std::string unit;
  std::vector<LabelDescriptor> labels;
  std::string help;
};

// Series that specification or law names and that cannot have a value yet.
struct UnavailableMetric {
  std::string name;
  std::string reason;
};

const std::vector<MetricDescriptor>& MetricCatalog();
// CHECKs that the catalog has it.
const MetricDescriptor& DescriptorOf(std::string_view name);

// Not exported at all.
const std::vector<UnavailableMetric>& NotYetExported();
// Exported because a law names them, and true, but always 0.
const std::vector<UnavailableMetric>& AlwaysZero();

// deploy/METRICS.md.
std::string RenderMetricsPage();

}  // namespace latentd
