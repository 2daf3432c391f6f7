#include "server/metrics/metric_catalog.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/api/outcomes.h"
#include "server/metrics/metrics_exporter.h"
#include "server/metrics/process_metrics.h"

namespace latentd {
namespace {

std::set<std::string> Names() {
  std::set<std::string> names;
  for (const MetricDescriptor& metric : MetricCatalog()) names.insert(metric.name);
  return names;
}

const MetricDescriptor& DescriptorOf(const std::string& name) {
  const auto has_name = [&name](const MetricDescriptor& metric) { return metric.name == name; };
  const auto found = std::find_if(MetricCatalog().begin(), MetricCatalog().end(), has_name);
  if (found == MetricCatalog().end()) throw std::runtime_error(name);
  return *found;
}

// With a file of each kind, of which there are series only where one is configured.
std::vector<prometheus::MetricFamily> AllFamilies() {
  return CollectFamilies({}, {}, {}, {.certificates = {.expiries = {1, 2}}});
}

TEST(MetricCatalog, IsWhatTheExporterEmits) {
  std::set<std::string> emitted;
  for (const prometheus::MetricFamily& family : AllFamilies()) {
    EXPECT_TRUE(emitted.insert(family.name).second) << family.name;
    EXPECT_FALSE(family.metric.empty()) << family.name;
  }
  EXPECT_EQ(emitted, Names());
}

TEST(MetricCatalog, SeriesHaveTheLabelsAndValuesThatItLists) {
  for (const prometheus::MetricFamily& family : AllFamilies()) {
    if (family.name == "latentd_config_info") continue;  // a label for each knob
    const MetricDescriptor& metric = DescriptorOf(family.name);
    for (const prometheus::ClientMetric& series : family.metric) {
      ASSERT_EQ(series.label.size(), metric.labels.size()) << family.name;
      for (size_t i = 0; i < series.label.size(); ++i) {
        EXPECT_EQ(series.label[i].name, metric.labels[i].name);
        if (metric.labels[i].values.empty()) continue;
        EXPECT_THAT(metric.labels[i].values, testing::Contains(series.label[i].value)) << family.name;
      }
    }
    if (metric.labels.size() == 1 && !metric.labels[0].values.empty()) {
      EXPECT_EQ(family.metric.size(), metric.labels[0].values.size()) << family.name;
    }
  }
}

TEST(MetricCatalog, NamesFollowTheConventions) {
  for (const MetricDescriptor& metric : MetricCatalog()) {
    EXPECT_EQ(metric.name.find(':'), std::string::npos);
    EXPECT_TRUE(metric.name.starts_with("latentd_") || metric.name.starts_with("process_")) << metric.name;
    EXPECT_EQ(metric.name.ends_with("_total"), metric.kind == MetricKind::kCounter) << metric.name;
    EXPECT_FALSE(metric.help.empty()) << metric.name;
  }
}

TEST(MetricCatalog, WhatIsNotYetExportedIsNotThere) {
  for (const UnavailableMetric& metric : NotYetExported()) {
    EXPECT_FALSE(metric.reason.empty());
    if (metric.name.find('{') != std::string::npos) continue;  // one value of a label
    EXPECT_EQ(Names().count(metric.name), 0u) << metric.name;
  }
}

TEST(MetricsPage, IsTheCommittedOne) {
  std::ifstream file("deploy/METRICS.md");
  const std::string committed{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_EQ(committed, RenderMetricsPage()) << "run: build/release/bin/latentd_metrics_doc > deploy/METRICS.md";
}

TEST(Outcomes, EveryRunReasonIsAnOutcome) {
  for (const auto* reasons : {&RunReasons(), &WasteCauses(), &AdmissionReasons()}) {
    for (const std::string& reason : *reasons) EXPECT_THAT(AllReasons(), testing::Contains(reason));
  }
}

TEST(Outcomes, AnswerThatGaveWayHasNoSeriesOfARun) {
  const std::string reason(RowOf(Cause::kAnswersFull).reason);
  for (const auto* reasons : {&RunReasons(), &WasteCauses(), &AdmissionReasons()}) {
    EXPECT_THAT(*reasons, testing::Not(testing::Contains(reason)));
  }
}

TEST(Outcomes, WasteIsAllOfAFailureAndTheSurplusOfAStopString) {
  const StreamEnd end{.prompt_tokens = 10, .generated_tokens = 7, .computed_tokens = 16, .output_tokens = 5};
  EXPECT_EQ(WasteOf(Cause::kClientCancel, end).cause, Cause::kClientCancel);
  EXPECT_EQ(WasteOf(Cause::kClientCancel, end).count, 16u);
  EXPECT_EQ(WasteOf(Cause::kExpiredInQueue, end).count, 0u);
  for (const Cause success : {Cause::kStopString, Cause::kMaxTokens}) {
    EXPECT_EQ(WasteOf(success, end).cause, Cause::kStopString) << "another of its answers found one";
    EXPECT_EQ(WasteOf(success, end).count, 2u);
  }
}

TEST(ProcessStat, NameMayHoldAnything) {
  std::string stat = "7 (a) b (c) S";
  for (int field = 4; field <= 24; ++field) stat += " " + std::to_string(field);
  const ProcessFacts facts = ParseProcessStat(stat, 1000.0);
  EXPECT_EQ(facts.num_threads, 20.0);
  EXPECT_EQ(facts.virtual_bytes, 23.0);
  EXPECT_GT(facts.start_time_seconds, 1000.0);
  EXPECT_EQ(ParseProcessStat("7 (short) S 1 2", 0.0).virtual_bytes, 0.0);
}

TEST(ProcessFacts, ThisProcessHasThem) {
  const ProcessFacts facts = ReadProcessFacts();
  EXPECT_GT(facts.resident_bytes, 0.0);
  EXPECT_GE(facts.num_threads, 1.0);
  EXPECT_GE(facts.num_open_files, 3.0);
  EXPECT_GT(facts.max_open_files, facts.num_open_files);
  EXPECT_GT(facts.start_time_seconds, 1e9);
}

}  // namespace
}  // namespace latentd
