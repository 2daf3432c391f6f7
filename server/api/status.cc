#include "server/api/status.h"

#include <algorithm>
#include <utility>

#include <absl/strings/cord.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <google/protobuf/any.pb.h>

#include "base/check.h"
#include "base/quoted_excerpt.h"
#include "base/utf8.h"
#include "engine/load/load_progress.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace latentd {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";
constexpr std::chrono::seconds kElsewhere{1};  // about the time in which a client finds another replica
// The weights are not all that a model needs, and how fast a disk reads is no promise for hours.
constexpr std::chrono::seconds kSoonest{1};
constexpr std::chrono::seconds kLatest{30};  // the rate of the first moments may say anything
using Numbers = std::map<std::string, std::string>;

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

absl::Status Failure(absl::StatusCode code, std::string_view reason, const std::string& message, Numbers numbers = {}) {
  absl::Status status(code, Fit(message, kMaxTextBytes, HeaderBytes));
  google::rpc::ErrorInfo error;
  error.set_reason(std::string(reason));
  error.set_domain("latentd");
  for (const auto& [name, value] : numbers) (*error.mutable_metadata())[name] = Fit(value, kMaxNameBytes);
  Attach(error, &status);
  return status;
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

absl::Status Expired(std::string_view reason, const StreamEnd& end) {
  return Failure(absl::StatusCode::kDeadlineExceeded, reason,
                 absl::StrFormat("the deadline passed after %d delivered tokens; allow more time or ask for fewer "
                                 "tokens",
                                 end.answer.output_tokens),
                 {{"tokens_delivered", std::to_string(end.answer.output_tokens)}});
}

// How far a request got, by its own record.
std::string_view ExpiredReason(const StreamEnd& end) {
  if (end.answer.output_tokens > 0) return "EXPIRED_IN_DECODE";
  return end.sequence.timings.first_scheduled == kNever ? "EXPIRED_IN_QUEUE" : "EXPIRED_IN_PREFILL";
}

// Of one field: its name, and what is wrong with it or asked too much of it.
absl::Status FieldFailure(absl::StatusCode code, std::string_view reason, const FieldViolation& violation,
                          Numbers numbers) {
  absl::Status status =
      Failure(code, reason, absl::StrFormat("%s: %s", violation.field, violation.description), std::move(numbers));
  AttachViolations({violation}, &status);
  return status;
}

// Of what another server, or this one a little later, may well do.
absl::Status TryElsewhere(absl::StatusCode code, std::string_view reason, const std::string& message) {
  absl::Status status = Failure(code, reason, message);
  AttachRetry(kElsewhere, &status);
  return status;
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
  absl::Status status = Failure(absl::StatusCode::kInvalidArgument, "INVALID_FIELD", message);
  AttachViolations(violations, &status);
  return status;
}

absl::Status InvalidField(std::string_view field, std::string_view description) {
  return InvalidFields({MakeViolation(field, description)});
}

absl::Status UnsupportedField(std::string_view field, std::string_view description) {
  const FieldViolation violation = MakeViolation(field, description);
  return FieldFailure(absl::StatusCode::kUnimplemented, "UNSUPPORTED_FEATURE", violation, {{"field", violation.field}});
}

absl::Status ContextLengthExceeded(std::string_view field, size_t prompt_tokens, size_t min_tokens, size_t limit) {
  const std::string description = absl::StrFormat(
      "the prompt has %d tokens and at least %d must follow, but the context holds %d; shorten the prompt",
      prompt_tokens, min_tokens, limit);
  return FieldFailure(absl::StatusCode::kInvalidArgument, "CONTEXT_LENGTH_EXCEEDED", MakeViolation(field, description),
                      {{"prompt_tokens", std::to_string(prompt_tokens)}, {"limit", std::to_string(limit)}});
}

absl::Status TextTooLong(std::string_view field, const TextSize& size) {
  const size_t tokens = (size.text_bytes + size.longest_token_bytes - 1) / size.longest_token_bytes;
  const std::string description =
      absl::StrFormat("the text has %d bytes, so %d tokens at least, but the context holds %d; shorten the text",
                      size.text_bytes, tokens, size.limit);
  return FieldFailure(absl::StatusCode::kInvalidArgument, "CONTEXT_LENGTH_EXCEEDED", MakeViolation(field, description),
                      {{"prompt_tokens", std::to_string(tokens)}, {"limit", std::to_string(size.limit)}});
}

absl::Status KvCapacityExceeded(int needed_blocks, int total_blocks) {
  return Failure(absl::StatusCode::kFailedPrecondition, "KV_CAPACITY_EXCEEDED",
                 absl::StrFormat("prompt and max_tokens need %d cache blocks, the cache has %d; shorten the prompt or "
                                 "lower max_tokens",
                                 needed_blocks, total_blocks),
                 {{"needed_blocks", std::to_string(needed_blocks)}, {"total_blocks", std::to_string(total_blocks)}});
}

absl::Status NoTokenizer(std::string_view field) {
  return Failure(absl::StatusCode::kFailedPrecondition, "NO_TOKENIZER",
                 absl::StrFormat("%s needs a tokenizer and the model's directory has none; send token ids", field));
}

absl::Status NoChatTemplate(std::string_view why) {
  return Failure(absl::StatusCode::kFailedPrecondition, "NO_CHAT_TEMPLATE",
                 absl::StrFormat("%s; use Generate with a prompt of your own",
                                 why.empty() ? "the model's directory has no chat template" : why));
}

absl::Status ModelNotFound(std::string_view asked, std::string_view served) {
  absl::Status status = Failure(
      absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
      absl::StrFormat("model %s is not served here; this server has %s", QuotedExcerpt(asked), QuotedExcerpt(served)));
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("model");
  resource.set_resource_name(Fit(asked, kMaxNameBytes));
  Attach(resource, &status);
  return status;
}

absl::Status DuplicateRequestId(std::string_view request_id) {
  absl::Status status = Failure(
      absl::StatusCode::kAlreadyExists, "DUPLICATE_REQUEST_ID",
      absl::StrFormat("request_id %s belongs to a request in flight; choose another", QuotedExcerpt(request_id)));
  AttachRequest(request_id, &status);
  return status;
}

absl::Status Draining() {
  return TryElsewhere(absl::StatusCode::kUnavailable, "DRAINING",
                      "the server is shutting down and takes no new requests; ask another one");
}

absl::Status Loading(const BytesRead& bytes) {
  absl::Status status =
      Failure(absl::StatusCode::kUnavailable, "LOADING",
              absl::StrFormat("the model is loading (%s); ask again then, or another server", StageText(bytes)),
              {{"loaded_bytes", std::to_string(bytes.read)}, {"total_bytes", std::to_string(bytes.total)}});
  AttachRetry(std::clamp<Duration>(FromSeconds(SecondsLeft(bytes)), kSoonest, kLatest), &status);
  return status;
}

absl::Status SlowSender() {
  return TryElsewhere(absl::StatusCode::kResourceExhausted, "SLOW_SENDER",
                      "expected the whole request in time, found a part of it, and others wait for its "
                      "memory or its time is over; send it again, all at once");
}

absl::Status IntakeFull() {
  return TryElsewhere(absl::StatusCode::kResourceExhausted, "INTAKE_FULL",
                      "expected room for another request, found too many that are being received or wait to "
                      "be worked on; try again later");
}

absl::Status MessageTooLarge(size_t num_bytes, size_t limit) {
  return Failure(
      absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
      absl::StrFormat("expected a request of at most %d bytes, found %d; send less at once", limit, num_bytes),
      {{"message_bytes", std::to_string(num_bytes)}, {"limit", std::to_string(limit)}});
}

absl::Status AnswerTooLarge(std::string_view fields, size_t num_bytes, size_t limit) {
  const std::string description = absl::StrFormat(
      "the answer may have %d bytes in one message, and the client or the server takes at most %d; ask for less, or "
      "let the client take more and say so in the metadata latentd-max-answer-bytes",
      num_bytes, limit);
  return FieldFailure(absl::StatusCode::kInvalidArgument, "ANSWER_TOO_LARGE", MakeViolation(fields, description),
                      {{"answer_bytes", std::to_string(num_bytes)}, {"limit", std::to_string(limit)}});
}

absl::Status AnswersFull() {
  return TryElsewhere(absl::StatusCode::kResourceExhausted, "ANSWERS_FULL",
                      "expected room for another answer, found too many that their clients have not read "
                      "yet; try again later");
}

absl::Status SlowConsumer(size_t unread_bytes) {
  return Failure(absl::StatusCode::kResourceExhausted, "SLOW_CONSUMER",
                 absl::StrFormat("the client left %d bytes of its answer unread for too long; read faster or ask for "
                                 "fewer tokens",
                                 unread_bytes),
                 {{"buffered_bytes", std::to_string(unread_bytes)}});
}

absl::Status StatusOfRefusal(const Refusal& refusal, std::string_view request_id) {
  switch (refusal.cause) {
    case RefusalCause::kDraining:
      return Draining();
    case RefusalCause::kQueueFull:
    case RefusalCause::kQueueTokens: {
      const char* reason = refusal.cause == RefusalCause::kQueueFull ? "QUEUE_FULL" : "QUEUE_TOKENS";
      absl::Status status = Failure(absl::StatusCode::kResourceExhausted, reason, refusal.message);
      AttachRetry(refusal.retry_after, &status);
      return status;
    }
    case RefusalCause::kNeverFits:
      break;
  }
  // Validation lets nothing through that the engine can never run.
  absl::Status status = Failure(absl::StatusCode::kInternal, "ENGINE_FAULT", refusal.message);
  AttachRequest(request_id, &status);
  return status;
}

absl::Status StatusOfEnd(const EndedRequest& ended) {
  const StreamEnd& end = ended.end;
  switch (ended.reason) {
    case FinishReason::kEos:
    case FinishReason::kStopString:
    case FinishReason::kStopToken:
    case FinishReason::kMaxTokens:
    case FinishReason::kContextLimit:
    case FinishReason::kScored:
      return absl::OkStatus();
    case FinishReason::kCancelled:
      if (ended.rpc_deadline_passed) return Expired(ExpiredReason(end), end);
      return Failure(absl::StatusCode::kCancelled, "CLIENT_CANCEL", "the client cancelled the request");
    case FinishReason::kAborted:
      return Failure(absl::StatusCode::kAborted, "ADMIN_ABORT", "an operator ended the request; send it again");
    case FinishReason::kExpiredInQueue:
      return Expired("EXPIRED_IN_QUEUE", end);
    case FinishReason::kExpiredInPrefill:
      return Expired("EXPIRED_IN_PREFILL", end);
    case FinishReason::kExpiredInDecode:
      return Expired("EXPIRED_IN_DECODE", end);
    case FinishReason::kSlowConsumer:
      return SlowConsumer(ended.unread_bytes);
    case FinishReason::kDraining:
      return Draining();
    case FinishReason::kNonFiniteLogits:
      break;
  }
  absl::Status status = Failure(absl::StatusCode::kDataLoss, "NAN_LOGITS",
                                "the model computed a number that is not finite for this request; check the weights");
  AttachRequest(ended.request_id, &status);
  return status;
}

std::string_view NameOfEnd(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "EOS";
    case FinishReason::kStopString:
      return "STOP_STRING";
    case FinishReason::kStopToken:
      return "STOP_TOKEN";
    case FinishReason::kMaxTokens:
      return "MAX_TOKENS";
    case FinishReason::kContextLimit:
      return "CONTEXT_LIMIT";
    case FinishReason::kScored:
      return "SCORED";
    default:
      return "";
  }
}

std::string ReasonOf(const absl::Status& status) {
  google::rpc::ErrorInfo error;
  return FindDetail(status, &error) ? error.reason() : "";
}

std::optional<std::chrono::milliseconds> RetryDelayOf(const absl::Status& status) {
  google::rpc::RetryInfo retry;
  const bool is_worth_a_retry_here = absl::IsResourceExhausted(status) || ReasonOf(status) == "LOADING";
  if (!is_worth_a_retry_here || !FindDetail(status, &retry)) return std::nullopt;
  const google::protobuf::Duration& delay = retry.retry_delay();
  return std::chrono::milliseconds(delay.seconds() * 1000 + (delay.nanos() + 999'999) / 1'000'000);
}

}  // namespace latentd
