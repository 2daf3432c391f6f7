#include "server/metrics/metrics_exporter.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include "server/api/outcomes.h"
#include "server/call/call_record.h"

namespace latentd {
namespace {

ExporterFacts SomeFacts() {
  ExporterFacts facts{.kv_bytes = 4096, .config = {{"max_rows", "64"}}};
  facts.model.set_name("tiny");
  return facts;
}

// Every sample of the text format: "name{labels}" -> value.
std::map<std::string, std::string> Samples(const MetricsData& data, const ServingState::View& view = {}) {
  const std::string text = prometheus::TextSerializer().Serialize(CollectFamilies(data, SomeFacts(), view));
  std::map<std::string, std::string> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    EXPECT_TRUE(samples.emplace(line.substr(0, space), line.substr(space + 1)).second) << line;
  }
  return samples;
}

TEST(MetricsExporter, EverySeriesIsThereFromTheStart) {
  const auto samples = Samples({});
  for (const std::string& method : AllMethods()) {
    EXPECT_EQ(samples.at("latentd_requests_received_total{method=\"" + method + "\"}"), "0");
  }
  for (const Outcome& outcome : AllOutcomes()) {
    EXPECT_EQ(samples.at("latentd_requests_finished_total{method=\"" + outcome.method + "\",grpc_code=\"" +
                         outcome.grpc_code + "\",reason=\"" + outcome.reason + "\"}"),
              "0");
    EXPECT_EQ(samples.at("latentd_request_duration_seconds_count{outcome=\"" + outcome.reason + "\"}"), "0");
  }
  EXPECT_EQ(samples.at("latentd_requests_in_flight{phase=\"prefill\"}"), "0");
  EXPECT_EQ(samples.at("latentd_generated_tokens_total{outcome=\"discarded\"}"), "0");
  EXPECT_EQ(samples.at("latentd_kv_blocks{state=\"free\"}"), "0");
  EXPECT_EQ(samples.at("latentd_step_rows_bucket{le=\"+Inf\"}"), "0");
}

TEST(MetricsExporter, OutcomesAreDistinctAndNamed) {
  const std::set<Outcome> distinct(AllOutcomes().begin(), AllOutcomes().end());
  EXPECT_EQ(distinct.size(), AllOutcomes().size());
  for (const Outcome& outcome : AllOutcomes()) EXPECT_FALSE(outcome.reason.empty()) << outcome.method;
}

TEST(MetricsExporter, CountsAppearUnderTheirLabels) {
  MetricsData data;
  data.requests_received["Generate"] = 5;
  data.requests_finished[{"Generate", "OK", "EOS"}] = 3;
  for (int i = 0; i < 2; ++i) data.requests_in_flight.Arrive(Phase::kDecode);
  data.kv_blocks_active = 7;
  data.spec_accepted_tokens[1] = 4;
  const auto samples = Samples(data);
  EXPECT_EQ(samples.at("latentd_requests_received_total{method=\"Generate\"}"), "5");
  EXPECT_EQ(samples.at("latentd_requests_finished_total{method=\"Generate\",grpc_code=\"OK\",reason=\"EOS\"}"), "3");
  EXPECT_EQ(samples.at("latentd_requests_in_flight{phase=\"decode\"}"), "2");
  EXPECT_EQ(samples.at("latentd_kv_blocks{state=\"active\"}"), "7");
  EXPECT_EQ(samples.at("latentd_spec_accepted_tokens_total{position=\"2\"}"), "4");
  EXPECT_EQ(samples.at("latentd_spec_accepted_tokens_total{position=\"1\"}"), "0");
}

TEST(MetricsExporter, StatusThatNamesNoCauseIsAFaultOfThisServer) {
  Metrics metrics;
  CallRecord record({.peer = "ipv4:1.1.1.1:1", .traceparent = ""}, metrics, "Tokenize");
  record.Finish(absl::UnknownError("made by none of the functions that make statuses"));
  EXPECT_EQ(
      Samples(metrics.Snapshot())
          .at("latentd_requests_finished_total{method=\"Tokenize\",grpc_code=\"UNKNOWN\",reason=\"ENGINE_FAULT\"}"),
      "1");
}

TEST(MetricsExporter, AcceptingIsWhatTheServingStateSays) {
  ServingState state;
  EXPECT_EQ(Samples({}, state.view()).at("latentd_accepting"), "1");
  for (const ListenerKind kind : {ListenerKind::kApi, ListenerKind::kAdmin}) {
    state.SetDeaf(kind);
    EXPECT_EQ(Samples({}, state.view()).at("latentd_accepting"), "0");
    state.SetHearing(kind);
    EXPECT_EQ(Samples({}, state.view()).at("latentd_accepting"), "1");
  }
}

TEST(MetricsExporter, HistogramBucketsAreCumulative) {
  MetricsData data;
  data.step_rows.Observe(1.0);
  data.step_rows.Observe(3.0, 2);
  data.step_rows.Observe(1e6);
  const auto samples = Samples(data);
  EXPECT_EQ(samples.at("latentd_step_rows_bucket{le=\"1\"}"), "1");
  EXPECT_EQ(samples.at("latentd_step_rows_bucket{le=\"4\"}"), "3");
  EXPECT_EQ(samples.at("latentd_step_rows_bucket{le=\"512\"}"), "3");
  EXPECT_EQ(samples.at("latentd_step_rows_bucket{le=\"+Inf\"}"), "4");
  EXPECT_EQ(samples.at("latentd_step_rows_count"), "4");
  EXPECT_EQ(samples.at("latentd_step_rows_sum"), "1000007");
}

TEST(MetricsExporter, BusyPortIsOneLine) {
  const Metrics metrics;
  const ServingState state;
  const auto authority = *Authority::Open({});
  auto first = MetricsExporter::Start("127.0.0.1:0", {.metrics = metrics, .state = state, .access = {*authority}});
  ASSERT_TRUE(first.ok());
  const std::string address = (*first)->address().ToString();
  const auto second = MetricsExporter::Start(address, {.metrics = metrics, .state = state, .access = {*authority}});
  ASSERT_FALSE(second.ok());
  const std::string message(second.status().message());
  EXPECT_NE(message.find(address), std::string::npos) << message;
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0);
}

}  // namespace
}  // namespace latentd
