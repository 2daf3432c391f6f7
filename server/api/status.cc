#include "server/api/status.h"

#include <algorithm>
#include <concepts>
#include <initializer_list>
#include <utility>

#include <absl/strings/cord.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <google/protobuf/any.pb.h>

#include "base/check.h"
#include "base/quoting.h"
#include "base/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace latentd {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";
constexpr std::chrono::seconds kElsewhere{1};  // about the time in which a client finds another replica
// The weights are not all that a model needs, and how fast a disk reads is no promise for hours.
constexpr std::chrono::seconds kSoonest{1};
constexpr std::chrono::seconds kLatest{30};  // the rate of the first moments may say anything

// Shares of kMaxStatusBytes. A message is sent twice, in its own header and in the details.
constexpr size_t kMaxTextBytes = 640;
constexpr size_t kMaxViolationsBytes = 1100;  // of all fields and descriptions of a BadRequest
constexpr size_t kMaxOtherDetailBytes = 400;  // the other details, type names and framing
constexpr size_t kMaxOtherHeaderBytes = 560;  // names of headers, grpc-status, push-back, the request's id and trace
constexpr size_t Base64(size_t num_bytes) { return (num_bytes + 2) / 3 * 4; }
static_assert(kMaxTextBytes + Base64(kMaxTextBytes + kMaxViolationsBytes + kMaxOtherDetailBytes) +
                  kMaxOtherHeaderBytes <=
              kMaxStatusBytes);
constexpr size_t kMaxFieldBytes = 120;
constexpr size_t kMaxDescriptionBytes = 240;
constexpr size_t kMaxNameBytes = 128;  // a request's id has no more

// What gRPC writes as %XX.
bool IsEscapedInHeader(char c) { return c < ' ' || c > '~' || c == '%'; }

size_t HeaderBytes(std::string_view message) {
  return message.size() + 2 * static_cast<size_t>(std::count_if(message.begin(), message.end(), IsEscapedInHeader));
}

// At most so many bytes, counted as `size_of` does. Always valid UTF-8, since it becomes a string of a message.
template <class SizeOf>
std::string Fit(std::string_view text, size_t max_bytes, SizeOf size_of) {
  constexpr std::string_view kCut = "...";
  std::string_view shown = CutText(text, max_bytes);
  const bool is_whole = shown.size() == text.size();
  std::string valid;
  if (FindInvalidUtf8(shown)) {
    valid = absl::CHexEscape({shown.data(), shown.size()});
    shown = valid;
  }
  if (is_whole && size_of(shown) <= max_bytes) return std::string(shown);
  while (!shown.empty() && size_of(shown) + kCut.size() > max_bytes) shown = CutText(shown, shown.size() - 1);
  return std::string(shown) + std::string(kCut);
}

std::string Fit(std::string_view text, size_t max_bytes) {
  return Fit(text, max_bytes, [](std::string_view shown) { return shown.size(); });
}

void Attach(const google::protobuf::Message& detail, absl::Status* status) {
  status->SetPayload(kTypePrefix + detail.GetDescriptor()->full_name(), absl::Cord(detail.SerializeAsString()));
}

// False where the status carries no such detail.
bool FindDetail(const absl::Status& status, google::protobuf::Message* detail) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kTypePrefix + detail->GetDescriptor()->full_name());
  return payload && detail->ParseFromString(std::string(*payload));
}

void AttachViolations(const std::vector<FieldViolation>& violations, absl::Status* status) {
  google::rpc::BadRequest bad_request;
  size_t left = kMaxViolationsBytes;
  for (const FieldViolation& violation : violations) {
    constexpr size_t kFraming = 9;
    const size_t num_bytes = violation.field.size() + violation.description.size() + kFraming;
    if (num_bytes > left) break;
    left -= num_bytes;
    auto* entry = bad_request.add_field_violations();
    entry->set_field(violation.field);
    entry->set_description(violation.description);
  }
  Attach(bad_request, status);
}

void AttachRetry(Duration delay, absl::Status* status) {
  google::rpc::RetryInfo retry;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(delay);
  retry.mutable_retry_delay()->set_seconds(seconds.count());
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>((delay - seconds).count()));
  Attach(retry, status);
}

void AttachRequest(std::string_view request_id, absl::Status* status) {
  google::rpc::RequestInfo request;
  request.set_request_id(Fit(request_id, kMaxNameBytes));
  Attach(request, status);
}

// $0 alone is 1, and so on.
constexpr size_t NumPlaceholders(std::string_view message) {
  size_t count = 0;
  for (size_t i = 0; i + 1 < message.size(); ++i) {
    if (message[i] == '$') count = std::max(count, static_cast<size_t>(message[i + 1] - '0') + 1);
  }
  return count;
}

std::string AsText(std::string_view text) { return std::string(text); }
std::string AsText(std::integral auto number) { return std::to_string(number); }

std::string FillIn(std::string_view message, std::initializer_list<std::string> values) {
  std::string text;
  for (size_t i = 0; i < message.size(); ++i) {
    if (message[i] == '$') {
      text += values.begin()[message[++i] - '0'];
    } else {
      text += message[i];
    }
  }
  return text;
}

// The row's message, filled in.
template <Cause kCause, class... Values>
std::string TextOf(const Values&... values) {
  constexpr std::string_view kMessage = RowOf(kCause).status.message;
  static_assert(NumPlaceholders(kMessage) == sizeof...(values));
  return FillIn(kMessage, {AsText(values)...});
}

absl::Status MakeFailure(const CauseRow& row, std::string_view message, std::initializer_list<std::string> numbers) {
  absl::Status status(row.code, Fit(message, kMaxTextBytes, HeaderBytes));
  google::rpc::ErrorInfo error;
  error.set_reason(std::string(row.reason));
  error.set_domain("latentd");
  for (size_t i = 0; i < numbers.size(); ++i) {
    (*error.mutable_metadata())[std::string(row.status.numbers[i])] = Fit(numbers.begin()[i], kMaxNameBytes);
  }
  Attach(error, &status);
  if (row.status.retry != Retry::kNone) AttachRetry(kElsewhere, &status);  // where there is no better estimate
  return status;
}

template <Cause kCause, class... Numbers>
absl::Status Failure(std::string_view message, const Numbers&... numbers) {
  static_assert(!RowOf(kCause).is_success() && RowOf(kCause).status.num_numbers() == sizeof...(numbers));
  return MakeFailure(RowOf(kCause), message, {AsText(numbers)...});
}

// Where the message has nothing to fill in.
template <Cause kCause>
absl::Status Failure() {
  return Failure<kCause>(TextOf<kCause>());
}

// A failure of one field: its name, and what is wrong with it or asks too much.
template <Cause kCause, class... Numbers>
absl::Status FieldFailure(const FieldViolation& violation, const Numbers&... numbers) {
  static_assert(RowOf(kCause).status.detail == Detail::kBadRequest);
  absl::Status status = Failure<kCause>(violation.field + ": " + violation.description, numbers...);
  AttachViolations({violation}, &status);
  return status;
}

template <Cause kCause>
absl::Status RequestFailure(std::string_view message, std::string_view request_id) {
  static_assert(RowOf(kCause).status.detail == Detail::kRequestInfo);
  absl::Status status = Failure<kCause>(message);
  AttachRequest(request_id, &status);
  return status;
}

template <Cause kCause>
absl::Status Expired(const StreamEnd& end) {
  return Failure<kCause>(TextOf<kCause>(end.output_tokens), end.output_tokens);
}

template <Cause kCause>
absl::Status ComeBackLater(std::string_view message, Duration retry_after) {
  static_assert(RowOf(kCause).status.retry == Retry::kHere);
  absl::Status status = Failure<kCause>(message);
  AttachRetry(retry_after, &status);
  return status;
}

absl::Status TenantOverQuota(const Refusal& refusal, std::string_view tenant) {
  absl::Status status = ComeBackLater<Cause::kTenantQuota>(refusal.message, refusal.retry_after);
  google::rpc::QuotaFailure quota;
  google::rpc::QuotaFailure::Violation* violation = quota.add_violations();
  violation->set_subject("tenant:" + Fit(tenant, kMaxNameBytes));
  violation->set_description(Fit(refusal.message, kMaxDescriptionBytes));
  Attach(quota, &status);
  return status;
}

// Where it waits in vain it is as far from a place as it was when it came, for all that is known.
absl::Status SloMissedInQueue(const StreamEnd& end) {
  const SequenceTimings& at = end.timings;
  const Duration waited = at.finished == kNever ? Duration::zero() : Duration(at.finished - at.received);
  return ComeBackLater<Cause::kSloUnattainable>(
      absl::StrFormat("after %.1f s of waiting the request can't meet its ttft_slo or its deadline any more; retry "
                      "later or allow more time",
                      Seconds(waited)),
      std::clamp<Duration>(waited, kSoonest, kLatest));
}

}  // namespace

FieldViolation MakeViolation(std::string_view field, std::string_view description) {
  return {Fit(field, kMaxFieldBytes), Fit(description, kMaxDescriptionBytes)};
}

std::string TooManyEntries(size_t found, size_t most) {
  return absl::StrFormat("expected at most %d entries, found %d", most, found);
}

absl::Status InvalidFields(const std::vector<FieldViolation>& violations) {
  CHECK(!violations.empty());
  constexpr size_t kMoreBytes = 16;  // of what stands for those that have no room
  std::string message;
  for (size_t i = 0; i < violations.size(); ++i) {
    const std::string next = violations[i].field + ": " + violations[i].description;
    if (i > 0 && HeaderBytes(message) + HeaderBytes(next) + kMoreBytes > kMaxTextBytes) {
      message += absl::StrFormat("; and %d more", violations.size() - i);
      break;
    }
    message += (i > 0 ? "; " : "") + next;
  }
  absl::Status status = Failure<Cause::kInvalidField>(TextOf<Cause::kInvalidField>(message));
  AttachViolations(violations, &status);
  return status;
}

absl::Status InvalidField(std::string_view field, std::string_view description) {
  return InvalidFields({MakeViolation(field, description)});
}

absl::Status UnsupportedField(std::string_view field, std::string_view description) {
  const FieldViolation violation = MakeViolation(field, description);
  return FieldFailure<Cause::kUnsupportedFeature>(violation, violation.field);
}

absl::Status ContextLengthExceeded(std::string_view field, size_t prompt_tokens, size_t min_tokens, size_t limit) {
  const std::string description = absl::StrFormat(
      "the prompt has %d tokens and at least %d must follow, but the context holds %d; shorten the prompt",
      prompt_tokens, min_tokens, limit);
  return FieldFailure<Cause::kContextLengthExceeded>(MakeViolation(field, description), prompt_tokens, limit);
}

absl::Status TextTooLong(std::string_view field, const TextSize& size) {
  const size_t tokens = (size.text_bytes + size.longest_token_bytes - 1) / size.longest_token_bytes;
  const std::string description =
      absl::StrFormat("the text has %d bytes, so %d tokens at least, but the context holds %d; shorten the text",
                      size.text_bytes, tokens, size.limit);
  return FieldFailure<Cause::kContextLengthExceeded>(MakeViolation(field, description), tokens, size.limit);
}

absl::Status KvCapacityExceeded(int needed_blocks, int total_blocks) {
  return Failure<Cause::kKvCapacityExceeded>(TextOf<Cause::kKvCapacityExceeded>(needed_blocks, total_blocks),
                                             needed_blocks, total_blocks);
}

absl::Status NoTokenizer(std::string_view field) {
  return Failure<Cause::kNoTokenizer>(TextOf<Cause::kNoTokenizer>(field));
}

absl::Status NoChatTemplate(std::string_view why) {
  return Failure<Cause::kNoChatTemplate>(
      TextOf<Cause::kNoChatTemplate>(why.empty() ? "the model's directory has no chat template" : why));
}

absl::Status ModelNotFound(std::string_view asked, std::string_view served) {
  absl::Status status =
      Failure<Cause::kModelNotFound>(TextOf<Cause::kModelNotFound>(QuotedExcerpt(asked), QuotedExcerpt(served)));
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("model");
  resource.set_resource_name(Fit(asked, kMaxNameBytes));
  Attach(resource, &status);
  return status;
}

absl::Status DuplicateRequestId(std::string_view request_id) {
  return RequestFailure<Cause::kDuplicateRequestId>(TextOf<Cause::kDuplicateRequestId>(QuotedExcerpt(request_id)),
                                                    request_id);
}

absl::Status Unauthenticated(std::string_view why) { return Failure<Cause::kUnauthenticated>(why); }

absl::Status PermissionDenied(std::string_view right, std::string_view holder) {
  return Failure<Cause::kPermissionDenied>(TextOf<Cause::kPermissionDenied>(right, Fit(holder, kMaxNameBytes)), right);
}

absl::Status Draining() { return Failure<Cause::kDraining>(); }

absl::Status Loading(const LoadingStage& stage) {
  absl::Status status =
      Failure<Cause::kLoading>(TextOf<Cause::kLoading>(stage.text), stage.loaded_bytes, stage.total_bytes);
  AttachRetry(std::clamp<Duration>(stage.left, kSoonest, kLatest), &status);
  return status;
}

absl::Status SlowSender() { return Failure<Cause::kSlowSender>(); }

absl::Status IntakeFull() { return Failure<Cause::kIntakeFull>(); }

absl::Status MessageTooLarge(size_t num_bytes, size_t limit) {
  return Failure<Cause::kMessageTooLarge>(TextOf<Cause::kMessageTooLarge>(num_bytes, limit), num_bytes, limit);
}

absl::Status AnswerTooLarge(std::string_view fields, size_t num_bytes, size_t limit) {
  const std::string description = TextOf<Cause::kAnswerTooLarge>(num_bytes, limit);
  return FieldFailure<Cause::kAnswerTooLarge>(MakeViolation(fields, description), num_bytes, limit);
}

absl::Status AnswersFull() { return Failure<Cause::kAnswersFull>(); }

absl::Status SlowConsumer(size_t unread_bytes) {
  return Failure<Cause::kSlowConsumer>(TextOf<Cause::kSlowConsumer>(unread_bytes), unread_bytes);
}

absl::Status StatusOfRefusal(const Refusal& refusal, const RefusedRequest& request) {
  switch (refusal.cause) {
    case RefusalCause::kDraining:
      return Draining();
    case RefusalCause::kQueueFull:
      return ComeBackLater<Cause::kQueueFull>(refusal.message, refusal.retry_after);
    case RefusalCause::kQueueTokens:
      return ComeBackLater<Cause::kQueueTokens>(refusal.message, refusal.retry_after);
    case RefusalCause::kTenantQuota:
      return TenantOverQuota(refusal, request.tenant);
    case RefusalCause::kSloUnattainable:
      return ComeBackLater<Cause::kSloUnattainable>(refusal.message, refusal.retry_after);
    case RefusalCause::kNeverFits:
      break;
  }
  // Validation lets nothing through that the engine can never run.
  return RequestFailure<Cause::kEngineFault>(refusal.message, request.request_id);
}

absl::Status StatusOfRun(Cause cause, const EndedRun& ended) {
  switch (cause) {
    case Cause::kClientCancel:
      return Failure<Cause::kClientCancel>();
    case Cause::kAdminAbort:
      return Failure<Cause::kAdminAbort>();
    case Cause::kExpiredInQueue:
      return Expired<Cause::kExpiredInQueue>(ended.end);
    case Cause::kExpiredInPrefill:
      return Expired<Cause::kExpiredInPrefill>(ended.end);
    case Cause::kExpiredInDecode:
      return Expired<Cause::kExpiredInDecode>(ended.end);
    case Cause::kSloUnattainable:
      return SloMissedInQueue(ended.end);
    case Cause::kSlowConsumer:
      return SlowConsumer(ended.unread_bytes);
    case Cause::kAnswersFull:
      return AnswersFull();
    case Cause::kDraining:
      return Draining();
    case Cause::kNanLogits:
      return RequestFailure<Cause::kNanLogits>(TextOf<Cause::kNanLogits>(), ended.request_id);
    default:
      CHECK(RowOf(cause).is_success() && "a failure that ends a run has its status here");
      return absl::OkStatus();
  }
}

std::string ReasonOf(const absl::Status& status) {
  google::rpc::ErrorInfo error;
  return FindDetail(status, &error) ? error.reason() : "";
}

std::optional<Cause> CauseOf(const absl::Status& status) { return FindCause(ReasonOf(status)); }

std::optional<std::chrono::milliseconds> RetryDelayOf(const absl::Status& status) {
  google::rpc::RetryInfo retry;
  const std::optional<Cause> cause = CauseOf(status);
  if (!cause || RowOf(*cause).status.retry != Retry::kHere || !FindDetail(status, &retry)) return std::nullopt;
  const google::protobuf::Duration& delay = retry.retry_delay();
  return std::chrono::milliseconds(delay.seconds() * 1000 + (delay.nanos() + 999'999) / 1'000'000);
}

}  // namespace latentd
