#include "server/traces/otlp.h"

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

namespace trace = opentelemetry::proto::trace::v1;
using std::chrono::seconds;
using testing::ElementsAre;

constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr uint64_t kNano = 1'000'000'000;

TimePoint At(int at) { return TimePoint{} + seconds(at); }

// Received at 10 s, ended at 20 s, which the clock on the wall calls 1,000 s.
RequestSpan Finished() {
  return {.method = "Generate",
          .request_id = "r-1",
          .prompt_tokens = 7,
          .choices = SpanChoices{.max_tokens = 9, .temperature = 0.5},
          .run = SpanRun{.first_scheduled = At(11), .first_token = At(13), .cached_tokens = 3, .output_tokens = 5},
          .received = At(10),
          .ended = At(20),
          .ended_at = std::chrono::system_clock::time_point(seconds(1000)),
          .cause = Cause::kMaxTokens};
}

trace::Span SpanOf(const RequestSpan& span) {
  uint64_t drawn = 0;
  const otlp::ExportTraceServiceRequest request =
      ExportRequestOf({span}, {.model = "tales", .instance = "host-1"}, [&drawn] { return drawn++; });
  return request.resource_spans(0).scope_spans(0).spans(0);
}

std::string TextOf(const trace::Span& span, const std::string& key) {
  for (const auto& attribute : span.attributes()) {
    if (attribute.key() == key) return attribute.value().ShortDebugString();
  }
  return "";
}

std::vector<std::string> EventsOf(const trace::Span& span) {
  std::vector<std::string> events;
  for (const auto& event : span.events()) {
    events.push_back(event.name() + " " + std::to_string(event.time_unix_nano() / kNano));
  }
  return events;
}

TEST(Otlp, SpanIsAChildInTheCallersTrace) {
  RequestSpan finished = Finished();
  finished.traceparent = kTrace;
  const trace::Span span = SpanOf(finished);
  EXPECT_EQ(span.trace_id(), "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c");
  EXPECT_EQ(span.parent_span_id(), "\xb7\xad\x6b\x71\x69\x20\x33\x31");
  EXPECT_EQ(span.span_id().size(), 8u);
  EXPECT_EQ(span.flags(), 0x301u);
}

TEST(Otlp, SpanWithoutACallersTraceIsARoot) {
  const trace::Span span = SpanOf(Finished());
  EXPECT_EQ(span.trace_id().size(), 16u);
  EXPECT_NE(span.trace_id(), std::string(16, '\0'));
  EXPECT_NE(span.span_id(), std::string(8, '\0'));
  EXPECT_EQ(span.parent_span_id(), "");
}

TEST(Otlp, MomentsAreThoseOfTheClockOnTheWall) {
  const trace::Span span = SpanOf(Finished());
  EXPECT_EQ(span.start_time_unix_nano(), 990 * kNano);
  EXPECT_EQ(span.end_time_unix_nano(), 1000 * kNano);
  EXPECT_THAT(EventsOf(span), ElementsAre("queued 990", "admitted 991", "first token 993", "end 1000"));
}

TEST(Otlp, PreemptionStandsWhereItHappened) {
  RequestSpan finished = Finished();
  finished.run->num_preemptions = 2;
  finished.run->preempted = seconds(3);
  finished.run->first_preempted = At(12);
  EXPECT_THAT(EventsOf(SpanOf(finished)),
              ElementsAre("queued 990", "admitted 991", "preempted 992", "first token 993", "end 1000"));
  finished.run->first_preempted = At(15);
  const trace::Span span = SpanOf(finished);
  EXPECT_THAT(EventsOf(span),
              ElementsAre("queued 990", "admitted 991", "first token 993", "preempted 995", "end 1000"));
  EXPECT_EQ(span.events(3).attributes(0).value().int_value(), 2);
  EXPECT_EQ(span.events(3).attributes(1).value().double_value(), 3.0);
}

TEST(Otlp, AttributesAreThoseOfTheConventions) {
  const trace::Span span = SpanOf(Finished());
  EXPECT_EQ(span.name(), "text_completion tales");
  EXPECT_EQ(span.kind(), trace::Span::SPAN_KIND_SERVER);
  const std::map<std::string, std::string> wanted = {
      {"gen_ai.operation.name", "string_value: \"text_completion\""},
      {"gen_ai.request.model", "string_value: \"tales\""},
      {"gen_ai.request.max_tokens", "int_value: 9"},
      {"gen_ai.request.temperature", "double_value: 0.5"},
      {"gen_ai.response.id", "string_value: \"r-1\""},
      {"gen_ai.usage.input_tokens", "int_value: 7"},
      {"gen_ai.usage.output_tokens", "int_value: 5"},
      {"gen_ai.usage.cache_read.input_tokens", "int_value: 3"},
      {"gen_ai.response.finish_reasons", "array_value { values { string_value: \"length\" } }"},
      {"rpc.grpc.status_code", "int_value: 0"},
      {"error.type", ""}};
  for (const auto& [key, value] : wanted) EXPECT_EQ(TextOf(span, key), value) << key;
  EXPECT_EQ(span.status().code(), trace::Status::STATUS_CODE_UNSET);
}

TEST(Otlp, WhatTheServerCausedIsAnErrorAndWhatItsClientCausedIsNone) {
  RequestSpan failed = Finished();
  failed.code = absl::StatusCode::kDataLoss;
  failed.cause = Cause::kNanLogits;
  trace::Span span = SpanOf(failed);
  EXPECT_EQ(span.status().code(), trace::Status::STATUS_CODE_ERROR);
  EXPECT_EQ(TextOf(span, "error.type"), "string_value: \"NAN_LOGITS\"");
  EXPECT_EQ(TextOf(span, "gen_ai.response.finish_reasons"), "");
  failed.code = absl::StatusCode::kCancelled;
  failed.cause = Cause::kClientCancel;
  span = SpanOf(failed);
  EXPECT_EQ(span.status().code(), trace::Status::STATUS_CODE_UNSET);
  EXPECT_EQ(TextOf(span, "error.type"), "string_value: \"CLIENT_CANCEL\"");
}

TEST(Otlp, RefusedRequestHasItsEndAlone) {
  const trace::Span span = SpanOf({.method = "Chat",
                                   .received = At(10),
                                   .ended = At(11),
                                   .ended_at = std::chrono::system_clock::time_point(seconds(1000)),
                                   .code = absl::StatusCode::kInvalidArgument,
                                   .cause = Cause::kInvalidField});
  EXPECT_THAT(EventsOf(span), ElementsAre("end 1000"));
  EXPECT_EQ(span.name(), "chat tales");
  EXPECT_EQ(TextOf(span, "gen_ai.usage.input_tokens"), "");
}

TEST(RequestSpan, IsSampledAsTheCallerSays) {
  EXPECT_TRUE(IsSampled(""));
  EXPECT_TRUE(IsSampled(kTrace));
  std::string traceparent = kTrace;
  for (const auto& [digit, is_sampled] : std::map<char, bool>{{'0', false}, {'e', false}, {'3', true}, {'f', true}}) {
    traceparent.back() = digit;
    EXPECT_EQ(IsSampled(traceparent), is_sampled) << digit;
  }
  EXPECT_TRUE(IsSampled(traceparent + "-more"));
}

}  // namespace
}  // namespace latentd
