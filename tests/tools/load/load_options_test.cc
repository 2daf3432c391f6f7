#include "tools/load/load_options.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

LoadOptions Valid() {
  LoadOptions options;
  options.run.timeout_seconds = 10.0;
  return options;
}

TEST(LoadOptions, RunIsBoundedWhateverIsGiven) {
  LoadOptions neither = Valid();
  ASSERT_TRUE(Complete(neither).ok());
  EXPECT_EQ(neither.run.max_requests, 1'000u);
  EXPECT_EQ(neither.run.duration_seconds, 60.0);

  LoadOptions only_duration = Valid();
  only_duration.run.duration_seconds = 5.0;
  ASSERT_TRUE(Complete(only_duration).ok());
  EXPECT_EQ(only_duration.run.max_requests, 1'000'000u);

  LoadOptions only_requests = Valid();
  only_requests.run.max_requests = 5;
  ASSERT_TRUE(Complete(only_requests).ok());
  EXPECT_EQ(only_requests.run.duration_seconds, 3'600.0);

  LoadOptions trace = Valid();
  trace.workload.trace_file = "f";
  ASSERT_TRUE(Complete(trace).ok());
  EXPECT_EQ(trace.run.max_requests, 1'000'000u);
  EXPECT_EQ(trace.run.duration_seconds, 3'600.0);
}

TEST(LoadOptions, ValueOutOfRangeIsRefusedByItsFlag) {
  const auto refusal = [](auto change) {
    LoadOptions options = Valid();
    change(options);
    return std::string(Complete(options).message());
  };
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.concurrency = 0; }), HasSubstr("--concurrency"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.workload.turns = 0; }), HasSubstr("--turns"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.workload.trace_block_tokens = 0; }), HasSubstr("--trace-block-tokens"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.workload.texts = {"a"}, o.workload.turns = 2; }), HasSubstr("--turns"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.rate = {1.0, 2.0}; }), HasSubstr("--duration"));
  EXPECT_THAT(refusal([](LoadOptions& o) {
                o.run.rate = {1.0, 2.0}, o.workload.trace_file = "f";
              }),
              HasSubstr("one number beside --trace"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.connections = 0; }), HasSubstr("--connections"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.client_threads = 2; }), HasSubstr("--client-threads"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.max_requests = 2'000'000; }), HasSubstr("--requests"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.warmup_seconds = 61.0; }), HasSubstr("--warmup"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.run.half_open = -1; }), HasSubstr("--half-open"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.metrics = "127.0.0.1:1"; }), HasSubstr("--check"));
  EXPECT_THAT(refusal([](LoadOptions& o) { o.workload.texts = {"a"}, o.workload.jsonl_file = "f"; }),
              HasSubstr("--jsonl"));
}

TEST(LoadOptions, BoundAndValueNeverLookAlike) {
  LoadOptions options = Valid();
  options.run.duration_seconds = 3600.0000001;
  EXPECT_EQ(Complete(options).message(), "--duration: expected 0.001 to 3600, found 3600.0000001");
}

TEST(ParseSlo, TakesAnyPartOfIt) {
  const Slo slo = *ParseSlo("ttft=0.2,e2e=5");
  EXPECT_EQ(slo.time_to_first_token, 0.2);
  EXPECT_FALSE(slo.time_per_output_token);
  EXPECT_EQ(slo.end_to_end, 5.0);
}

TEST(ParseSlo, RefusesWhatIsNone) {
  for (const char* text : {"", "ttft", "ttft=", "ttft=0", "ttft=-1", "itl=1", "ttft=1,", "ttft=1;e2e=2"}) {
    EXPECT_FALSE(ParseSlo(text).ok()) << text;
  }
}

TEST(ParseDeadlines, TakesARange) {
  WorkloadOptions workload;
  ASSERT_TRUE(ParseDeadlines("0.01:0.5", workload).ok());
  EXPECT_EQ(workload.min_deadline_seconds, 0.01);
  EXPECT_EQ(workload.max_deadline_seconds, 0.5);
  for (const char* text : {"", "1", "0:1", "2:1", "a:b", "1:2:3", "1:1e9"}) {
    EXPECT_FALSE(ParseDeadlines(text, workload).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
