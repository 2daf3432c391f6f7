#include "server/api/status.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/call/final_cause.h"
#include "server/grpc/grpc_status.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

template <class Detail>
Detail Find(const grpc::Status& status) {
  Detail found;
  const google::rpc::Status details = DetailsOf(status);
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&found)) return found;
  }
  ADD_FAILURE() << "no " << found.GetDescriptor()->full_name();
  return found;
}

TEST(Status, DetailsRepeatCodeAndMessage) {
  const grpc::Status status = ToGrpcStatus(InvalidField("sampling.top_p", "expected more than 0"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(DetailsOf(status).code(), 3);
  EXPECT_EQ(DetailsOf(status).message(), status.error_message());
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(status).reason(), "INVALID_FIELD");
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(status).domain(), "latentd");
  EXPECT_EQ(Find<google::rpc::BadRequest>(status).field_violations(0).field(), "sampling.top_p");
}

TEST(Status, DetailTypesHaveTheNamesThatEveryGrpcClientKnows) {
  const auto details = DetailsOf(ToGrpcStatus(Draining()));
  std::map<std::string, int> types;
  for (const auto& detail : details.details()) ++types[detail.type_url()];
  EXPECT_EQ(types["type.googleapis.com/google.rpc.ErrorInfo"], 1);
  EXPECT_EQ(types["type.googleapis.com/google.rpc.RetryInfo"], 1);
}

TEST(Status, AllViolationsTravelTogether) {
  const grpc::Status status = ToGrpcStatus(InvalidFields({{"a", "one"}, {"b[2]", "two"}}));
  const auto bad = Find<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(1).field(), "b[2]");
  EXPECT_EQ(status.error_message(), "a: one; b[2]: two");
}

TEST(Status, ContextLengthCarriesBothNumbers) {
  const auto error = Find<google::rpc::ErrorInfo>(ToGrpcStatus(ContextLengthExceeded("text", 3000, 1, 2048)));
  EXPECT_EQ(error.reason(), "CONTEXT_LENGTH_EXCEEDED");
  EXPECT_EQ(error.metadata().at("prompt_tokens"), "3000");
  EXPECT_EQ(error.metadata().at("limit"), "2048");
}

TEST(Status, EachRefusalOfTheEngineHasItsCode) {
  const auto status = [](RefusalCause cause) {
    return StatusOfRefusal({.cause = cause, .message = "m"}, {.request_id = "r"});
  };
  EXPECT_TRUE(absl::IsResourceExhausted(status(RefusalCause::kQueueFull)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kQueueFull)), "QUEUE_FULL");
  EXPECT_TRUE(absl::IsResourceExhausted(status(RefusalCause::kQueueTokens)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kQueueTokens)), "QUEUE_TOKENS");
  EXPECT_TRUE(absl::IsResourceExhausted(status(RefusalCause::kTenantQuota)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kTenantQuota)), "TENANT_QUOTA");
  EXPECT_TRUE(absl::IsResourceExhausted(status(RefusalCause::kSloUnattainable)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kSloUnattainable)), "SLO_UNATTAINABLE");
  EXPECT_TRUE(absl::IsUnavailable(status(RefusalCause::kDraining)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kDraining)), "DRAINING");
  EXPECT_TRUE(absl::IsInternal(status(RefusalCause::kNeverFits)));
  EXPECT_EQ(ReasonOf(status(RefusalCause::kNeverFits)), "ENGINE_FAULT");
}

TEST(Status, RetryInfoSaysWhenThereIsAPlace) {
  for (const RefusalCause cause : {RefusalCause::kQueueFull, RefusalCause::kQueueTokens, RefusalCause::kTenantQuota,
                                   RefusalCause::kSloUnattainable}) {
    const Refusal refusal = {.cause = cause, .retry_after = std::chrono::milliseconds(2750)};
    const absl::Status status = StatusOfRefusal(refusal, {.request_id = "r"});
    const auto retry = Find<google::rpc::RetryInfo>(ToGrpcStatus(status));
    EXPECT_EQ(retry.retry_delay().seconds(), 2);
    EXPECT_EQ(retry.retry_delay().nanos(), 750'000'000);
    EXPECT_EQ(RetryDelayOf(status), std::chrono::milliseconds(2750));
  }
}

TEST(Status, QuotaFailureNamesTheTenant) {
  const Refusal refusal = {.cause = RefusalCause::kTenantQuota, .message = "8 of 8 requests run or wait"};
  const auto quota = Find<google::rpc::QuotaFailure>(ToGrpcStatus(StatusOfRefusal(refusal, {.tenant = "alpha"})));
  ASSERT_EQ(quota.violations_size(), 1);
  EXPECT_EQ(quota.violations(0).subject(), "tenant:alpha");
  EXPECT_EQ(quota.violations(0).description(), "8 of 8 requests run or wait");
}

TEST(Status, ThatWaitedInVainIsToldToComeBackAfterAsLong) {
  StreamEnd end;
  end.timings.received = TimePoint{};
  end.timings.finished = TimePoint{} + std::chrono::seconds(7);
  const absl::Status status = StatusOfRun(Cause::kSloUnattainable, {.end = end, .request_id = "r"});
  EXPECT_THAT(std::string(status.message()), HasSubstr("7.0 s"));
  EXPECT_EQ(RetryDelayOf(status), std::chrono::seconds(7));
}

// A length-delimited field on the wire; all lengths here are below 128.
std::string Field(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

std::string Detail(const std::string& type, const std::string& content) {
  return Field(3, Field(1, "type.googleapis.com/google.rpc." + type) + Field(2, content));
}

// Written out by hand from the published google/rpc/status.proto and error_details.proto: what any client decodes.
TEST(Status, BytesAreThoseOfGoogleRpc) {
  const std::string bytes = ToGrpcStatus(InvalidField("a", "b")).error_details();
  EXPECT_EQ(bytes.substr(0, 8), "\x08\x03" + Field(2, "a: b"));
  EXPECT_THAT(bytes, HasSubstr(Detail("ErrorInfo", Field(1, "INVALID_FIELD") + Field(2, "latentd"))));
  EXPECT_THAT(bytes, HasSubstr(Detail("BadRequest", Field(1, Field(1, "a") + Field(2, "b")))));

  const Refusal refusal = {.cause = RefusalCause::kQueueFull, .retry_after = std::chrono::seconds(3)};
  EXPECT_THAT(ToGrpcStatus(StatusOfRefusal(refusal, {.request_id = "r"})).error_details(),
              HasSubstr(Detail("RetryInfo", Field(1, "\x08\x03"))));
  EXPECT_THAT(ToGrpcStatus(DuplicateRequestId("r")).error_details(), HasSubstr(Detail("RequestInfo", Field(1, "r"))));
  EXPECT_THAT(ToGrpcStatus(ModelNotFound("m", "served")).error_details(),
              HasSubstr(Detail("ResourceInfo", Field(1, "model") + Field(2, "m"))));
}

struct EndCase {
  FinishReason reason;
  grpc::StatusCode code;
  const char* error_reason;
};

TEST(Status, EveryEndHasOneCause) {
  const EndCase cases[] = {
      {FinishReason::kEos, grpc::OK, ""},
      {FinishReason::kStopString, grpc::OK, ""},
      {FinishReason::kStopToken, grpc::OK, ""},
      {FinishReason::kMaxTokens, grpc::OK, ""},
      {FinishReason::kContextLimit, grpc::OK, ""},
      {FinishReason::kScored, grpc::OK, ""},
      {FinishReason::kCancelled, grpc::CANCELLED, "CLIENT_CANCEL"},
      {FinishReason::kAborted, grpc::ABORTED, "ADMIN_ABORT"},
      {FinishReason::kExpiredInQueue, grpc::DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE"},
      {FinishReason::kExpiredInPrefill, grpc::DEADLINE_EXCEEDED, "EXPIRED_IN_PREFILL"},
      {FinishReason::kExpiredInDecode, grpc::DEADLINE_EXCEEDED, "EXPIRED_IN_DECODE"},
      {FinishReason::kSloUnattainable, grpc::RESOURCE_EXHAUSTED, "SLO_UNATTAINABLE"},
      {FinishReason::kSlowConsumer, grpc::RESOURCE_EXHAUSTED, "SLOW_CONSUMER"},
      {FinishReason::kNonFiniteLogits, grpc::DATA_LOSS, "NAN_LOGITS"},
      {FinishReason::kDraining, grpc::UNAVAILABLE, "DRAINING"},
  };
  for (const EndCase& expected : cases) {
    const StreamEnd end;
    const absl::Status status = StatusOfRun(CauseOf(expected.reason), {.end = end, .request_id = "r"});
    EXPECT_EQ(ToGrpcStatus(status).error_code(), expected.code) << expected.error_reason;
    EXPECT_EQ(ReasonOf(status), expected.error_reason);
  }
}

TEST(Status, SlowConsumerIsToldHowMuchItLeft) {
  const StreamEnd end;
  const grpc::Status status =
      ToGrpcStatus(StatusOfRun(Cause::kSlowConsumer, {.end = end, .unread_bytes = 70000, .request_id = "r"}));
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(status).metadata().at("buffered_bytes"), "70000");
}

TEST(Status, CancellationAtTheRpcDeadlineIsAnExpiryWhereTheRequestStood) {
  StreamEnd end;
  const auto reason = [&end] {
    const Cause cause =
        FinalCause({.engine = FinishReason::kCancelled, .progress = ProgressOf(end), .deadline_passed = true});
    return ReasonOf(StatusOfRun(cause, {.end = end, .request_id = "r"}));
  };
  EXPECT_EQ(reason(), "EXPIRED_IN_QUEUE");
  end.timings.first_scheduled = TimePoint{};
  EXPECT_EQ(reason(), "EXPIRED_IN_PREFILL");
  end.output_tokens = 3;
  EXPECT_EQ(reason(), "EXPIRED_IN_DECODE");
}

// Every status that a client can get something into, made of that something.
std::vector<absl::Status> AllStatusesWith(std::string_view text) {
  std::vector<absl::Status> statuses = {InvalidField(text, text),
                                        InvalidField(std::string("messages[0].") + std::string(text), "expected less"),
                                        UnsupportedField(text, text),
                                        ContextLengthExceeded(text, 4'000'000, 1'000'000, 1'000'000),
                                        NoTokenizer(text),
                                        ModelNotFound(text, "served"),
                                        ModelNotFound("asked", text),
                                        ModelNotFound(text, text),
                                        DuplicateRequestId(text)};
  std::vector<FieldViolation> violations;
  for (size_t i = 0; i < kMaxViolations; ++i) violations.push_back(MakeViolation(text, text));
  statuses.push_back(InvalidFields(violations));
  for (const RefusalCause cause :
       {RefusalCause::kDraining, RefusalCause::kQueueFull, RefusalCause::kQueueTokens, RefusalCause::kTenantQuota,
        RefusalCause::kSloUnattainable, RefusalCause::kNeverFits}) {
    statuses.push_back(
        StatusOfRefusal({.cause = cause, .message = std::string(text)}, {.request_id = text, .tenant = text}));
  }
  for (const FinishReason reason :
       {FinishReason::kCancelled, FinishReason::kAborted, FinishReason::kExpiredInQueue, FinishReason::kExpiredInDecode,
        FinishReason::kSloUnattainable, FinishReason::kSlowConsumer, FinishReason::kDraining,
        FinishReason::kNonFiniteLogits}) {
    StreamEnd end;
    end.output_tokens = 1'000'000'000;
    statuses.push_back(StatusOfRun(CauseOf(reason), {.end = end, .unread_bytes = size_t{1} << 40, .request_id = text}));
  }
  return statuses;
}

// As gRPC writes it: the message with %XX, the details in base64.
size_t HeaderBytesOf(const grpc::Status& status) {
  constexpr size_t kNames = 100;  // grpc-status, grpc-message, grpc-status-details-bin, grpc-retry-pushback-ms
  constexpr size_t kRequestIdAndTrace = 18 + 128 + 11 + 256;
  size_t num_bytes = kNames + kRequestIdAndTrace + (status.error_details().size() + 2) / 3 * 4;
  for (const char c : status.error_message()) num_bytes += c < ' ' || c > '~' || c == '%' ? 3 : 1;
  return num_bytes;
}

TEST(Status, FitsItsBoundWhateverIsQuoted) {
  std::vector<std::string> texts = {"",
                                    "x",
                                    std::string(3000, 'x'),
                                    std::string(1 << 20, 'x'),
                                    std::string(3000, '\0'),
                                    std::string(1 << 20, '\n'),
                                    std::string(3000, '%'),
                                    std::string(1 << 20, '"'),
                                    std::string(3000, '\xff'),
                                    std::string(1 << 20, '\x80')};
  for (const std::string character : {"é", "｜", "🦊"}) {
    // Cut at every place within a character.
    for (size_t shift = 0; shift < 4; ++shift) {
      std::string text(shift, 'x');
      while (text.size() < 3000) text += character;
      texts.push_back(text);
    }
  }
  for (const std::string& text : texts) {
    for (const absl::Status& status : AllStatusesWith(text)) {
      const grpc::Status sent = ToGrpcStatus(status);
      EXPECT_LE(HeaderBytesOf(sent), kMaxStatusBytes) << ReasonOf(status) << " " << text.size();
      EXPECT_FALSE(FindInvalidUtf8(sent.error_message()));
      google::rpc::Status details;
      ASSERT_TRUE(details.ParseFromString(sent.error_details())) << ReasonOf(status) << " " << text.size();
      EXPECT_NE(Find<google::rpc::ErrorInfo>(sent).reason(), "");
    }
  }
}

TEST(Status, LongQuotesAreExcerptsInWholeCharacters) {
  std::string name = "x";
  while (name.size() < 3000) name += "🦊";
  const std::string message(ModelNotFound(name, "tiny").message());
  EXPECT_THAT(message, testing::StartsWith("model \"x🦊🦊"));
  EXPECT_THAT(message, testing::EndsWith("🦊\"... is not served here; this server has \"tiny\""));
}

TEST(Status, ViolationsThatHaveNoRoomAreCounted) {
  std::vector<FieldViolation> violations;
  for (int i = 0; i < 16; ++i) violations.push_back({"field" + std::to_string(i), std::string(100, 'x')});
  const grpc::Status status = ToGrpcStatus(InvalidFields(violations));
  EXPECT_THAT(status.error_message(), testing::EndsWith("; and 11 more"));
  EXPECT_EQ(Find<google::rpc::BadRequest>(status).field_violations_size(), 9);
}

}  // namespace
}  // namespace latentd
