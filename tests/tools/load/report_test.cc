#include "tools/load/report.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/tools/load/run_record.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

LoadReport SmallReport() {
  RunResult run;
  run.records = {Succeeded({.first_token = 10, .ended = 20}, 3),
                 Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL")};
  run.records[0].drafted_tokens = 4;
  run.records[0].accepted_tokens = 1;
  run.records[1].message = "</script><!-- \xff";
  run.seconds = 1.0;
  LoadReport report;
  report.model.set_name("tiny");
  report.model.set_fingerprint("abc");
  report.options.workload.seed = 77;
  report.seconds = run.seconds;
  report.summary = Summarize(run, report.options);
  report.checks = {{"stream grammar", Verdict::kFailed, "expected this, found that"}};
  return report;
}

TEST(LoadReport, JsonHasSchemaParametersAndFigures) {
  const auto json = nlohmann::json::parse(MakeJson(SmallReport()));
  EXPECT_EQ(json["schema"], "latentd-load/1");
  EXPECT_EQ(json["seed"], 77);
  EXPECT_EQ(json["model"]["fingerprint"], "abc");
  EXPECT_EQ(json["passed"], false);
  EXPECT_EQ(json["valid"], true);
  EXPECT_EQ(json["requests"]["sent"], 2);
  EXPECT_DOUBLE_EQ(json["latency_seconds"]["end_to_end"]["p99"].get<double>(), 0.02);
  const auto& bucket = json["latency_seconds"]["end_to_end"]["buckets_ns"].at(0);
  EXPECT_LE(bucket.at(0).get<int64_t>(), 20 * kMillisecond);
  EXPECT_GE(bucket.at(1).get<int64_t>(), 20 * kMillisecond);
  EXPECT_EQ(bucket.at(2), 1);
  EXPECT_EQ(json["statuses"].at(1)["reason"], "QUEUE_FULL");
  EXPECT_EQ(json["checks"].at(0)["verdict"], "failed");
  EXPECT_TRUE(json["goodput"].is_null());
  EXPECT_EQ(json["speculation"]["drafted_tokens"], 4);
  EXPECT_EQ(json["speculation"]["accepted_tokens"], 1);
  EXPECT_DOUBLE_EQ(json["speculation"]["acceptance"].get<double>(), 0.25);
  EXPECT_DOUBLE_EQ(json["speculation"]["tokens_per_step"].get<double>(), 1.5);
  EXPECT_TRUE(json["parameters"]["workload"]["max_drafts"].is_null());
}

TEST(LoadReport, PageCannotBeBrokenByAServersMessage) {
  const std::string page = MakeHtml(MakeJson(SmallReport()));
  const size_t begin = page.find("type=\"application/json\">") + sizeof("type=\"application/json\">") - 1;
  const std::string json = page.substr(begin, page.find("</script>", begin) - begin);
  EXPECT_EQ(nlohmann::json::parse(json)["statuses"].at(1)["example"], "</script><!-- \xEF\xBF\xBD");
}

TEST(LoadReport, PageLoadsNothing) {
  const std::string page = MakeHtml(MakeJson(SmallReport()));
  for (const char* foreign : {"http:", "https:", "src=", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(foreign)));
  }
}

TEST(LoadReport, TableTellsStatusesChecksAndSeed) {
  const std::string table = MakeTable(SmallReport());
  EXPECT_THAT(table, HasSubstr("seed 77"));
  EXPECT_THAT(table, HasSubstr("QUEUE_FULL"));
  EXPECT_THAT(table, HasSubstr("FAILED: expected this, found that"));
}

TEST(LoadReport, TableTellsWhatDraftsCameTo) {
  LoadReport report = SmallReport();
  EXPECT_THAT(MakeTable(report),
              HasSubstr("speculation 4 drafted, 1 accepted (25.00 %), 1.50 tokens per step of an answer\n"));
  report.summary.speculation = {};
  EXPECT_THAT(MakeTable(report), HasSubstr("speculation nothing drafted\n"));
}

TEST(LoadReport, FailedRequestOrCheckMeansNotPassed) {
  LoadReport report = SmallReport();
  EXPECT_FALSE(report.passed());
  report.summary.unexpected = 0;
  EXPECT_FALSE(report.passed());
  report.checks[0].verdict = Verdict::kSkipped;
  EXPECT_TRUE(report.passed());
}

TEST(LoadReport, FileThatCannotBeWrittenIsNamed) {
  EXPECT_THAT(std::string(WriteFile("/nowhere/x.json", "{}").message()), HasSubstr("/nowhere/x.json"));
}

}  // namespace
}  // namespace latentd
