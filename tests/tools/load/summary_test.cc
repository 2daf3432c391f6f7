#include "tools/load/summary.h"

#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/load/run_record.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

RunResult RunOf(std::vector<RequestRecord> records, double seconds = 10.0) {
  RunResult run;
  run.records = std::move(records);
  for (size_t i = 0; i < run.records.size(); ++i) run.records[i].index = i;
  run.seconds = seconds;
  return run;
}

LoadOptions WithMaxLag(double seconds) {
  LoadOptions options;
  options.max_lag_seconds = seconds;
  return options;
}

const LatencyHistogram& Named(const Summary& summary, std::string_view name) {
  for (const NamedHistogram& entry : summary.latencies) {
    if (entry.name == name) return entry.histogram;
  }
  ADD_FAILURE() << name;
  return summary.lag;
}

TEST(Summary, LatenciesCountFromTheIntendedStart) {
  RequestRecord late = Succeeded({.intended = 1000, .first_token = 3500, .ended = 4000}, 11);
  late.sent = 3000 * kMillisecond;
  const Summary summary = Summarize(RunOf({late}), WithMaxLag(10.0));
  EXPECT_EQ(Named(summary, "time_to_first_token").max(), 2500 * kMillisecond);
  EXPECT_EQ(Named(summary, "end_to_end").max(), 3000 * kMillisecond);
  EXPECT_EQ(Named(summary, "time_per_output_token").max(), 50 * kMillisecond);
  EXPECT_EQ(summary.lag.max(), 2000 * kMillisecond);
}

TEST(Summary, WholeAnswersOnlyHaveAnEndToEndLatency) {
  RequestRecord cut = Failed(grpc::StatusCode::CANCELLED, "", Behaviour::kCancelDecode);
  cut.first_token = 30 * kMillisecond;
  cut.ended = 40 * kMillisecond;
  const Summary summary = Summarize(RunOf({cut}), {});
  EXPECT_EQ(Named(summary, "time_to_first_token").count(), 1u);
  EXPECT_EQ(Named(summary, "end_to_end").count(), 0u);
}

TEST(Summary, WarmUpIsLeftOut) {
  LoadOptions options;
  options.run.warmup_seconds = 2.0;
  const Summary summary = Summarize(RunOf({Succeeded({.intended = 100, .first_token = 200, .ended = 300}, 2),
                                           Succeeded({.intended = 2500, .first_token = 2600, .ended = 2800}, 2)}),
                                    options);
  EXPECT_EQ(summary.sent, 2u);
  EXPECT_EQ(summary.measured, 1u);
  EXPECT_EQ(Named(summary, "end_to_end").count(), 1u);
  EXPECT_DOUBLE_EQ(summary.window_seconds, 8.0);
  EXPECT_DOUBLE_EQ(summary.requests_per_second, 1.0 / 8.0);
  EXPECT_DOUBLE_EQ(summary.input_tokens_per_second, 10.0 / 8.0);
}

TEST(Summary, StatusesAreCountedByCodeAndReasonAndPlannedOnesAreNoFailures) {
  RequestRecord refused = Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  refused.message = "full";
  const Summary summary =
      Summarize(RunOf({Succeeded({.first_token = 1, .ended = 2}, 2), refused, refused,
                       Failed(grpc::StatusCode::CANCELLED, "", Behaviour::kCancelDecode),
                       Failed(grpc::StatusCode::DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE", Behaviour::kServerTimeout)}),
                {});
  EXPECT_EQ(summary.unexpected, 2u);
  ASSERT_EQ(summary.statuses.size(), 4u);
  EXPECT_EQ(summary.statuses[3].code, "RESOURCE_EXHAUSTED");
  EXPECT_EQ(summary.statuses[3].count, 2u);
  EXPECT_EQ(summary.statuses[3].unexpected, 2u);
  EXPECT_EQ(summary.statuses[3].example, "full");
}

TEST(Summary, EndsThatTheMixDidNotPlanAreFailures) {
  EXPECT_FALSE(EndedAsExpected(Failed(grpc::StatusCode::CANCELLED, "")));
  EXPECT_FALSE(EndedAsExpected(Failed(grpc::StatusCode::DEADLINE_EXCEEDED, "", Behaviour::kCancelDecode)));
  EXPECT_FALSE(EndedAsExpected(Failed(grpc::StatusCode::CANCELLED, "CLIENT_CANCEL", Behaviour::kServerTimeout)));
  EXPECT_TRUE(EndedAsExpected(Failed(grpc::StatusCode::DEADLINE_EXCEEDED, "", Behaviour::kRpcDeadline)));
}

TEST(Summary, AdversaryThatGetsItsWayIsAFailure) {
  for (const Behaviour behaviour : {Behaviour::kMalformed, Behaviour::kOversize}) {
    RequestRecord record = Succeeded({.first_token = 1, .ended = 2}, 2);
    record.behaviour = behaviour;
    EXPECT_FALSE(EndedAsExpected(record));
    EXPECT_FALSE(EndedAsExpected(Failed(grpc::StatusCode::INTERNAL, "ENGINE_FAULT", behaviour)));
  }
  EXPECT_TRUE(EndedAsExpected(Failed(grpc::StatusCode::INVALID_ARGUMENT, "INVALID_FIELD", Behaviour::kMalformed)));
  EXPECT_TRUE(
      EndedAsExpected(Failed(grpc::StatusCode::ALREADY_EXISTS, "DUPLICATE_REQUEST_ID", Behaviour::kDuplicateId)));
  EXPECT_FALSE(EndedAsExpected(Failed(grpc::StatusCode::ALREADY_EXISTS, "DUPLICATE_REQUEST_ID")));
  EXPECT_TRUE(EndedAsExpected(Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "SLOW_CONSUMER", Behaviour::kSlowReader)));
}

TEST(Summary, RefusalIsAFailureUnlessTheMixAcceptsIt) {
  RequestRecord refused = Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_FALSE(EndedAsExpected(refused));
  refused.may_be_refused = true;
  EXPECT_TRUE(EndedAsExpected(refused));
  refused.reason = "";
  EXPECT_FALSE(EndedAsExpected(refused)) << "a refusal has its reason";
}

TEST(Summary, AdversariesAreCountedByBehaviourAndEnd) {
  const Summary summary =
      Summarize(RunOf({Failed(grpc::StatusCode::CANCELLED, "", Behaviour::kCancelDecode),
                       Failed(grpc::StatusCode::INTERNAL, "ENGINE_FAULT", Behaviour::kCancelDecode), Failed({}, "")}),
                {});
  ASSERT_EQ(summary.adversaries.size(), 1u);
  EXPECT_EQ(summary.adversaries[0].name, "cancel-decode");
  EXPECT_EQ(summary.adversaries[0].sent, 2u);
  EXPECT_EQ(summary.adversaries[0].unexpected, 1u);
  EXPECT_EQ(summary.adversaries[0].ends,
            (std::map<std::string, uint64_t>{{"CANCELLED", 1}, {"INTERNAL ENGINE_FAULT", 1}}));
}

TEST(Summary, SlowReadersLatenciesAreTheirOwn) {
  RequestRecord slow = Succeeded({.first_token = 1, .ended = 2000}, 5);
  slow.behaviour = Behaviour::kSlowReader;
  const Summary summary = Summarize(RunOf({slow, Succeeded({.first_token = 1, .ended = 20}, 5)}), {});
  EXPECT_EQ(Named(summary, "end_to_end").count(), 1u);
  EXPECT_EQ(Named(summary, "time_per_output_token").max(), 19 * kMillisecond / 4);
}

TEST(Summary, GoodputCountsRequestsThatMeetEveryObjective) {
  const std::vector<RequestRecord> records = {
      Succeeded({.first_token = 100, .ended = 1100}, 11),  // 100 ms per token
      Succeeded({.first_token = 300, .ended = 1300}, 11),  // first token too late
      Succeeded({.first_token = 100, .ended = 2100}, 11),  // tokens too slow
      Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL"),
      Failed(grpc::StatusCode::CANCELLED, "", Behaviour::kCancelDecode),  // not its fault
  };
  const Goodput goodput =
      GoodputOf(records, {.time_to_first_token = 0.2, .time_per_output_token = 0.15, .end_to_end = {}}, 2.0);
  EXPECT_EQ(goodput.eligible, 4u);
  EXPECT_EQ(goodput.good, 1u);
  EXPECT_DOUBLE_EQ(goodput.fraction, 0.25);
  EXPECT_DOUBLE_EQ(goodput.requests_per_second, 0.5);
}

TEST(Summary, DraftsAreThoseOfMeasuredSuccesses) {
  RequestRecord early = Succeeded({.intended = 100, .first_token = 200, .ended = 300}, 9);
  RequestRecord drafted = Succeeded({.intended = 2500, .first_token = 2600, .ended = 2800}, 10);
  RequestRecord plain = Succeeded({.intended = 2500, .first_token = 2600, .ended = 2800}, 20);
  RequestRecord failed = Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  failed.intended = early.ended;
  early.drafted_tokens = failed.drafted_tokens = 100;
  drafted.drafted_tokens = 8;
  drafted.accepted_tokens = 5;
  LoadOptions options;
  options.run.warmup_seconds = 2.0;
  const Speculation speculation = Summarize(RunOf({early, drafted, plain, failed}), options).speculation;
  EXPECT_EQ(speculation.drafted_tokens, 8u);
  EXPECT_EQ(speculation.accepted_tokens, 5u);
  EXPECT_DOUBLE_EQ(speculation.acceptance, 5.0 / 8.0);
  EXPECT_DOUBLE_EQ(speculation.tokens_per_step, 30.0 / 25.0);
}

TEST(Summary, NothingDraftedIsOneTokenAStep) {
  const Speculation none = Summarize(RunOf({Succeeded({.first_token = 1, .ended = 2}, 7)}), {}).speculation;
  EXPECT_EQ(none.acceptance, 0.0);
  EXPECT_EQ(none.tokens_per_step, 1.0);
  EXPECT_EQ(Summarize(RunOf({}), {}).speculation.tokens_per_step, 0.0);
}

TEST(Summary, LagBeyondItsBoundMakesTheRunInvalid) {
  std::vector<RequestRecord> records(100, Succeeded({.first_token = 1, .ended = 2}, 2));
  EXPECT_TRUE(Summarize(RunOf(records), WithMaxLag(0.05)).is_valid);
  for (size_t i = 0; i < 2; ++i) records[i].sent = 60 * kMillisecond;  // the p99 of a hundred
  const Summary invalid = Summarize(RunOf(records), WithMaxLag(0.05));
  EXPECT_FALSE(invalid.is_valid);
  EXPECT_THAT(invalid.why_invalid, HasSubstr("--max-lag"));
}

TEST(Summary, OneLongPauseOfTheClientMakesTheRunInvalid) {
  std::vector<RequestRecord> records(1'000, Succeeded({.first_token = 1, .ended = 2}, 2));
  records[7].sent = 400 * kMillisecond;
  EXPECT_TRUE(Summarize(RunOf(records), WithMaxLag(0.05)).is_valid);
  records[7].sent = 600 * kMillisecond;
  EXPECT_FALSE(Summarize(RunOf(records), WithMaxLag(0.05)).is_valid);
}

TEST(Summary, ClientCpuIsPerTokenAndPerMessage) {
  RunResult run = RunOf({Succeeded({.first_token = 1, .ended = 2}, 50)});
  run.cpu_seconds = 0.1;
  run.num_messages = 20;
  const Summary summary = Summarize(run, {});
  EXPECT_DOUBLE_EQ(summary.cpu_seconds_per_token, 0.002);
  EXPECT_DOUBLE_EQ(summary.cpu_seconds_per_message, 0.005);
}

TEST(Summary, TimelinePutsLatenciesWhereTheRequestsWereIntended) {
  RunResult run = RunOf({Succeeded({.intended = 1200, .first_token = 3100, .ended = 3400}, 4)}, 3.5);
  run.tokens_by_second = {0, 0, 0, 4};
  const Summary summary = Summarize(run, {});
  ASSERT_EQ(summary.timeline.size(), 4u);
  EXPECT_EQ(summary.timeline[1].ttft.p99, 1900 * kMillisecond);
  EXPECT_EQ(summary.timeline[3].ended, 1u);
  EXPECT_EQ(summary.timeline[3].output_tokens, 4u);
}

}  // namespace
}  // namespace latentd
