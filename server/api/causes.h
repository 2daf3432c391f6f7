// The table of causes. Statuses, the log, the metrics' label values and deploy/METRICS.md are made of it; tests compare
// the statuses of the documents and of generation.proto with it. Constant; any thread.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>

#include <absl/status/status.h>

#include "engine/schedule/finish_reason.h"
#include "server/api/cause.h"
#include "server/api/enumerators.h"
#include "server/api/methods.h"

namespace latentd {

inline constexpr std::string_view kExpiredText =
    "the deadline passed after $0 delivered tokens; allow more time or ask for fewer tokens";
inline constexpr std::string_view kTextOfItsPlace = "$0";  // the whole text is made where the cause arises

inline constexpr Occurrence kGenerated = {.methods = kGenerates, .stage = Stage::kRun};

inline constexpr CauseRow kCauses[] = {
    {{Cause::kEos, absl::StatusCode::kOk, "EOS", Party::kNone}, kGenerated},
    {{Cause::kStopString, absl::StatusCode::kOk, "STOP_STRING", Party::kNone},
     {.methods = kGenerates, .stage = Stage::kRun, .waste = Waste::kSurplus}},
    {{Cause::kStopToken, absl::StatusCode::kOk, "STOP_TOKEN", Party::kNone}, kGenerated},
    {{Cause::kMaxTokens, absl::StatusCode::kOk, "MAX_TOKENS", Party::kNone}, kGenerated},
    {{Cause::kContextLimit, absl::StatusCode::kOk, "CONTEXT_LIMIT", Party::kNone}, kGenerated},
    {{Cause::kScored, absl::StatusCode::kOk, "SCORED", Party::kNone}, {.methods = kScores, .stage = Stage::kRun}},
    {{Cause::kClientCancel, absl::StatusCode::kCancelled, "CLIENT_CANCEL", Party::kClient},
     {.methods = kEveryMethod, .stage = Stage::kBeforeOrInRun, .waste = Waste::kAll},
     {.message = "the client cancelled the request"}},
    {{Cause::kAdminAbort, absl::StatusCode::kAborted, "ADMIN_ABORT", Party::kOperator},
     {.methods = kRunsModel, .stage = Stage::kRun, .waste = Waste::kAll},
     {.message = "an operator ended the request; send it again"}},
    {{Cause::kExpiredInQueue, absl::StatusCode::kDeadlineExceeded, "EXPIRED_IN_QUEUE", Party::kClient},
     {.methods = kEveryMethod, .stage = Stage::kBeforeOrInRun},
     {.numbers = {"tokens_delivered"}, .message = kExpiredText}},
    {{Cause::kExpiredInPrefill, absl::StatusCode::kDeadlineExceeded, "EXPIRED_IN_PREFILL", Party::kClient},
     {.methods = kRunsModel, .stage = Stage::kRun, .waste = Waste::kAll},
     {.numbers = {"tokens_delivered"}, .message = kExpiredText}},
    {{Cause::kExpiredInDecode, absl::StatusCode::kDeadlineExceeded, "EXPIRED_IN_DECODE", Party::kClient},
     {.methods = kRunsModel, .stage = Stage::kRun, .waste = Waste::kAll},
     {.numbers = {"tokens_delivered"}, .message = kExpiredText}},
    {{Cause::kSlowConsumer, absl::StatusCode::kResourceExhausted, "SLOW_CONSUMER", Party::kClient},
     {.methods = kEveryMethod, .stage = Stage::kBeforeOrInRun, .waste = Waste::kAll},
     {.numbers = {"buffered_bytes"},
      .message = "the client left $0 bytes of its answer unread for too long; read faster or ask for fewer tokens"}},
    {{Cause::kNanLogits, absl::StatusCode::kDataLoss, "NAN_LOGITS", Party::kServer},
     {.methods = kRunsModel, .stage = Stage::kRun, .waste = Waste::kAll},
     {.detail = Detail::kRequestInfo,
      .message = "the model computed a number that is not finite for this request; check the weights"}},
    {{Cause::kAnswered, absl::StatusCode::kOk, "ANSWERED", Party::kNone}, {.methods = kAnswersItself}},
    {{Cause::kUnauthenticated, absl::StatusCode::kUnauthenticated, "UNAUTHENTICATED", Party::kClient},
     {.methods = kEveryMethod},
     {.message = kTextOfItsPlace}},
    {{Cause::kPermissionDenied, absl::StatusCode::kPermissionDenied, "PERMISSION_DENIED", Party::kClient},
     {.methods = kEveryMethod},
     {.numbers = {"right"},
      .message = "expected a credential with the right to $0, found $1, which has not; ask the operator for one"}},
    {{Cause::kInvalidField, absl::StatusCode::kInvalidArgument, "INVALID_FIELD", Party::kClient},
     {.methods = kEveryMethod},
     {.detail = Detail::kBadRequest, .message = kTextOfItsPlace}},
    {{Cause::kUnsupportedFeature, absl::StatusCode::kUnimplemented, "UNSUPPORTED_FEATURE", Party::kClient},
     {.methods = kMakesPrompt},
     {.detail = Detail::kBadRequest, .numbers = {"field"}, .message = kTextOfItsPlace}},
    {{Cause::kModelNotFound, absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", Party::kClient},
     {.methods = kNamesModel},
     {.detail = Detail::kResourceInfo, .message = "model $0 is not served here; this server has $1"}},
    {{Cause::kNoTokenizer, absl::StatusCode::kFailedPrecondition, "NO_TOKENIZER", Party::kClient},
     {.methods = kUsesTokenizer},
     {.message = "$0 needs a tokenizer and the model's directory has none; send token ids"}},
    {{Cause::kNoChatTemplate, absl::StatusCode::kFailedPrecondition, "NO_CHAT_TEMPLATE", Party::kClient},
     {.methods = kUsesTemplate},
     {.message = "$0; use Generate with a prompt of your own"}},
    {{Cause::kAnswerTooLarge, absl::StatusCode::kInvalidArgument, "ANSWER_TOO_LARGE", Party::kClient},
     {.methods = kAnswersInOne},
     {.detail = Detail::kBadRequest,
      .numbers = {"answer_bytes", "limit"},
      .message = "the answer may have $0 bytes in one message, and the client or the server takes at most $1; ask "
                 "for less, or let the client take more and say so in the metadata latentd-max-answer-bytes"}},
    {{Cause::kMessageTooLarge, absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE", Party::kClient},
     {.methods = kEveryMethod},
     {.numbers = {"message_bytes", "limit"},
      .message = "expected a request of at most $1 bytes, found $0; send less at once"}},
    {{Cause::kSlowSender, absl::StatusCode::kResourceExhausted, "SLOW_SENDER", Party::kClient},
     {.methods = kEveryMethod},
     {.retry = Retry::kHere,
      .message = "expected the whole request in time, found a part of it, and others wait for its memory or "
                 "its time is over; send it again, all at once"}},
    {{Cause::kIntakeFull, absl::StatusCode::kResourceExhausted, "INTAKE_FULL", Party::kServer},
     {.methods = kEveryMethod},
     {.retry = Retry::kHere,
      .message = "expected room for another request, found too many that are being received or wait to be "
                 "worked on; try again later"}},
    {{Cause::kAnswersFull, absl::StatusCode::kResourceExhausted, "ANSWERS_FULL", Party::kServer},
     {.methods = kAnswersInOne, .stage = Stage::kBeforeOrBehindRun, .waste = Waste::kAll},
     {.retry = Retry::kHere,
      .message =
          "expected room for another answer, found too many that their clients have not read yet; try again later"}},
    {{Cause::kEngineFault, absl::StatusCode::kInternal, "ENGINE_FAULT", Party::kServer},
     {},
     {.detail = Detail::kRequestInfo, .message = kTextOfItsPlace}},
    {{Cause::kContextLengthExceeded, absl::StatusCode::kInvalidArgument, "CONTEXT_LENGTH_EXCEEDED", Party::kClient},
     {.methods = kMakesPrompt, .stage = Stage::kAdmission},
     {.detail = Detail::kBadRequest, .numbers = {"prompt_tokens", "limit"}, .message = kTextOfItsPlace}},
    {{Cause::kKvCapacityExceeded, absl::StatusCode::kFailedPrecondition, "KV_CAPACITY_EXCEEDED", Party::kClient},
     {.methods = kRunsModel, .stage = Stage::kAdmission},
     {.numbers = {"needed_blocks", "total_blocks"},
      .message =
          "prompt and max_tokens need $0 cache blocks, the cache has $1; shorten the prompt or lower max_tokens"}},
    {{Cause::kDuplicateRequestId, absl::StatusCode::kAlreadyExists, "DUPLICATE_REQUEST_ID", Party::kClient},
     {.methods = kRunsModel, .stage = Stage::kAdmission},
     {.detail = Detail::kRequestInfo, .message = "request_id $0 belongs to a request in flight; choose another"}},
    {{Cause::kQueueFull, absl::StatusCode::kResourceExhausted, "QUEUE_FULL", Party::kServer},
     {.methods = kRunsModel, .stage = Stage::kAdmission},
     {.retry = Retry::kHere, .message = kTextOfItsPlace}},
    {{Cause::kQueueTokens, absl::StatusCode::kResourceExhausted, "QUEUE_TOKENS", Party::kServer},
     {.methods = kRunsModel, .stage = Stage::kAdmission},
     {.retry = Retry::kHere, .message = kTextOfItsPlace}},
    {{Cause::kTenantQuota, absl::StatusCode::kResourceExhausted, "TENANT_QUOTA", Party::kClient},
     {.methods = kRunsModel, .stage = Stage::kAdmission},
     {.retry = Retry::kHere, .detail = Detail::kQuotaFailure, .message = kTextOfItsPlace}},
    {{Cause::kSloUnattainable, absl::StatusCode::kResourceExhausted, "SLO_UNATTAINABLE", Party::kServer},
     {.methods = kRunsModel, .stage = Stage::kAdmissionOrRun},
     {.retry = Retry::kHere, .message = kTextOfItsPlace}},
    {{Cause::kLoading, absl::StatusCode::kUnavailable, "LOADING", Party::kServer},
     {.methods = kNeedsModel, .stage = Stage::kAdmission},
     {.retry = Retry::kHere,
      .numbers = {"loaded_bytes", "total_bytes"},
      .message = "the model is loading ($0); ask again then, or another server"}},
    {{Cause::kDraining, absl::StatusCode::kUnavailable, "DRAINING", Party::kOperator},
     {.methods = kEveryMethod, .stage = Stage::kAdmissionOrRun, .waste = Waste::kAll},
     {.retry = Retry::kElsewhere, .message = "the server is shutting down and takes no new requests; ask another one"}},
};

inline constexpr size_t kNumCauses = std::size(kCauses);
static_assert(HasEnumerators<Cause, kNumCauses>(), "each cause has a row");
static_assert(
    [] {
      for (size_t i = 0; i < kNumCauses; ++i) {
        if (static_cast<size_t>(kCauses[i].cause) != i) return false;
      }
      return true;
    }(),
    "in the order of the enum");

constexpr const CauseRow& RowOf(Cause cause) { return kCauses[static_cast<size_t>(cause)]; }

// None: no cause has this reason.
std::optional<Cause> FindCause(std::string_view reason);

// How a request that the engine ended came to its end, as the engine knows it.
Cause CauseOf(FinishReason reason);

}  // namespace latentd
