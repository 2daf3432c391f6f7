#include "server/call/call_record.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "server/api/status.h"

namespace latentd {
namespace {

constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class CallRecordTest : public testing::Test {
 protected:
  CallRecord Make(std::string method, std::string traceparent = "") {
    return {{.peer = "ipv4:1.1.1.1:1", .traceparent = std::move(traceparent)}, metrics_, method};
  }
  int64_t InFlight(Phase phase) const { return metrics_.Snapshot().requests_in_flight.in(phase); }
  void ExpectNoneInFlight() const {
    const MetricsData data = metrics_.Snapshot();
    for (const int64_t count : data.requests_in_flight.counts()) EXPECT_EQ(count, 0);
  }
  uint64_t Finished(const Outcome& outcome) const {
    const MetricsData data = metrics_.Snapshot();
    const auto found = data.requests_finished.find(outcome);
    return found == data.requests_finished.end() ? 0 : found->second;
  }

  Metrics metrics_;
};

TEST_F(CallRecordTest, RequestThatTheEngineRefusedLeavesFromTheQueue) {
  CallRecord record = Make("Generate");
  EXPECT_EQ(InFlight(Phase::kQueued), 1);
  record.Finish(Draining());
  ExpectNoneInFlight();
}

TEST_F(CallRecordTest, RequestThatTheEngineTookLeavesFromWhereTheEngineMovesIt) {
  CallRecord record = Make("Generate");
  record.EngineTookIt();
  metrics_.Update([](MetricsData& data) { data.requests_in_flight.Move(Phase::kQueued, Phase::kOutput, 1); });
  record.FinishRun(absl::OkStatus(), StreamEnd{});
  ExpectNoneInFlight();
}

TEST_F(CallRecordTest, CallWithoutTheModelIsOutputFromItsArrivalOn) {
  CallRecord record = Make("GetModel");
  EXPECT_EQ(InFlight(Phase::kOutput), 1);
  record.Finish(absl::OkStatus());
  ExpectNoneInFlight();
}

TEST_F(CallRecordTest, FailureCountsUnderItsOwnCauseWhateverTheSuccessWouldBe) {
  Make("Generate").Finish(IntakeFull(), Cause::kAnswered);
  EXPECT_EQ(Finished({.method = "Generate", .grpc_code = "RESOURCE_EXHAUSTED", .reason = "INTAKE_FULL"}), 1u);
  EXPECT_EQ(metrics_.Snapshot().outcomes["INTAKE_FULL"].request_seconds.count(), 1u);
}

TEST_F(CallRecordTest, RunIsObservedUnderItsReasonAndRefusesNothing) {
  StreamEnd end;
  end.timings.received = TimePoint{} + std::chrono::seconds(1);
  end.timings.first_scheduled = TimePoint{} + std::chrono::seconds(2);
  end.timings.finished = TimePoint{} + std::chrono::seconds(3);
  CallRecord record = Make("Score");
  record.FinishRun(Draining(), end);
  MetricsData data = metrics_.Snapshot();
  EXPECT_EQ(data.outcomes["DRAINING"].queue_seconds.count(), 1u);
  EXPECT_EQ(data.outcomes["DRAINING"].prefill_seconds.count(), 1u);
  EXPECT_EQ(data.outcomes["DRAINING"].decode_seconds.count(), 0u);
  EXPECT_TRUE(data.admission_rejected.empty());
  EXPECT_EQ(record.facts().queue_seconds, 1.0);
}

TEST_F(CallRecordTest, SurplusBehindAStopStringIsWastedWhateverTheFirstAnswersReason) {
  StreamEnd end;
  end.Add({.id = {.index = 0}, .prompt_tokens = 9, .generated_tokens = 4, .drafted_tokens = 6, .accepted_tokens = 1},
          {.output_tokens = 4});
  end.Add({.id = {.index = 1}, .prompt_tokens = 9, .generated_tokens = 7},
          {.reason = FinishReason::kStopString, .stop_string = "x", .output_tokens = 5});
  CallRecord record = Make("Generate");
  record.FinishRun(absl::OkStatus(), end);
  MetricsData data = metrics_.Snapshot();
  EXPECT_EQ(Finished({.method = "Generate", .grpc_code = "OK", .reason = "EOS"}), 1u);
  EXPECT_EQ(data.outcomes["STOP_STRING"].wasted_tokens, 2u);
  EXPECT_EQ(data.outcomes["EOS"].wasted_tokens, 0u);
  EXPECT_EQ(data.outcomes["EOS"].time_per_output_token_seconds.count(), 2u);
  EXPECT_EQ(data.prompt_length_tokens.count(), 1u);
  EXPECT_EQ(data.generation_length_tokens.sum(), 9.0);
  EXPECT_EQ(record.facts().generated_tokens, 9);
  EXPECT_EQ(record.facts().drafted_tokens, 6);
  EXPECT_EQ(record.facts().accepted_tokens, 1);
}

TEST_F(CallRecordTest, TraceIsEchoedWhereThereIsOne) {
  CallRecord with = Make("GetModel", kTrace), without = Make("GetModel");
  EXPECT_EQ(with.EchoedTrace(), (Metadata{{"traceparent", kTrace}}));
  EXPECT_TRUE(without.EchoedTrace().empty());
}

}  // namespace
}  // namespace latentd
