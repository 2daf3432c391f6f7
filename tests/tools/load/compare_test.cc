#include "tools/load/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/load/run_record.h"
#include "tools/load/report.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

ComparedRun RunWith(double ttft_p99, double tokens_per_second) {
  return {.figures = {{"ttft.p99", ttft_p99}, {"output_tokens_per_second", tokens_per_second}, {"unexpected", 0.0}}};
}

bool Holds(const ComparedRun& a, const ComparedRun& b, const char* gate) {
  const absl::StatusOr<Comparison> comparison = Compare(a, b, {*ParseGate(gate)});
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return comparison.ok() && comparison->holds;
}

TEST(Compare, GateHoldsUpToItsBound) {
  const ComparedRun a = RunWith(0.2, 1000.0);
  EXPECT_TRUE(Holds(a, RunWith(0.22, 1000.0), "ttft.p99<=1.1x"));
  EXPECT_FALSE(Holds(a, RunWith(0.23, 1000.0), "ttft.p99<=1.1x"));
  EXPECT_TRUE(Holds(a, RunWith(0.23, 1000.0), "ttft.p99<=0.23"));
  EXPECT_FALSE(Holds(a, RunWith(0.24, 1000.0), "ttft.p99<=0.23"));
  EXPECT_TRUE(Holds(a, RunWith(0.2, 950.0), "output_tokens_per_second>=0.95x"));
  EXPECT_FALSE(Holds(a, RunWith(0.2, 949.0), "output_tokens_per_second>=0.95x"));
  EXPECT_TRUE(Holds(a, a, "unexpected<=1x"));
}

TEST(Compare, GateOnAFigureThatIsNotThereNamesThoseThatAre) {
  const auto comparison = Compare(RunWith(1, 1), RunWith(1, 1), {*ParseGate("probe.itl.p99<=1.1x")});
  EXPECT_THAT(std::string(comparison.status().message()), HasSubstr("\"probe.itl.p99\"; it has output_tokens_per_"));
}

TEST(Compare, TableHasBothAndTheirRatio) {
  const Comparison comparison = *Compare(RunWith(0.2, 1000.0), RunWith(0.3, 500.0), {*ParseGate("ttft.p99<=1.1x")});
  EXPECT_THAT(comparison.table, HasSubstr("1.500x"));
  EXPECT_THAT(comparison.table, HasSubstr("0.500x"));
  EXPECT_THAT(comparison.table, HasSubstr("gate ttft.p99 1.1x FAILED: expected at most 0.22"));
}

TEST(Compare, ReadsWhatAReportSays) {
  RunResult run;
  run.records = {Succeeded({.first_token = 10, .ended = 20}, 3)};
  run.seconds = 1.0;
  LoadReport report;
  report.options.workload.tenants = {{"a"}};
  report.options.slo.end_to_end = 1.0;
  report.summary = Summarize(run, report.options);
  const ComparedRun read = *ParseReport(MakeJson(report), "f");
  EXPECT_TRUE(read.is_valid);
  EXPECT_DOUBLE_EQ(read.figures.at("ttft.p99"), 0.01);
  EXPECT_DOUBLE_EQ(read.figures.at("e2e.max"), 0.02);
  EXPECT_DOUBLE_EQ(read.figures.at("requests_per_second"), 1.0);
  EXPECT_DOUBLE_EQ(read.figures.at("goodput"), 1.0);
  EXPECT_DOUBLE_EQ(read.figures.at("tenant.a.ttft.p50"), 0.01);
  EXPECT_EQ(read.figures.count("itl.p99"), 0u) << "no token waits were recorded";
}

TEST(Compare, RefusesWhatIsNoReport) {
  for (const char* text : {"", "[]", "{}", R"({"schema": "latentd-load/2"})"}) {
    EXPECT_FALSE(ParseReport(text, "f").ok()) << text;
  }
}

TEST(ParseGate, RefusesWhatIsNone) {
  for (const char* text : {"", "a", "a<1", "a==1", "<=1", "a<=", "a<=x", "a<=-1", "a<=1.1y", "a<=nan"}) {
    EXPECT_FALSE(ParseGate(text).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
