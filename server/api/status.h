// One status per cause, as generation.proto lists them. An absl::Status carries its google.rpc details as payloads, by
// type URL, from where it arises up to the RPC that fails with it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/loop/queue_limit.h"
#include "engine/stream/token_stream.h"
#include "server/api/causes.h"

namespace latentd {

// A status travels in headers, of which clients take 8 KiB: message, details and trailers stay within these bytes as
// they are sent, whatever was quoted in them.
inline constexpr size_t kMaxStatusBytes = 4096;
// More mistakes of one request than a status tells are not even looked for.
inline constexpr size_t kMaxViolations = 16;

struct FieldViolation {
  std::string field;        // path from the request's root
  std::string description;  // what was expected, what was found
};
// Cut where it is long: a path may hold names that came with the request.
FieldViolation MakeViolation(std::string_view field, std::string_view description);
std::string TooManyEntries(size_t found, size_t most);

absl::Status InvalidFields(const std::vector<FieldViolation>& violations);  // at least one
absl::Status InvalidField(std::string_view field, std::string_view description);
absl::Status UnsupportedField(std::string_view field, std::string_view description);
absl::Status ContextLengthExceeded(std::string_view field, size_t prompt_tokens, size_t min_tokens, size_t limit);
struct TextSize {
  size_t text_bytes = 0;
  size_t longest_token_bytes = 0;
  size_t limit = 0;  // in tokens
};
// The same of a text that was not encoded: its size tells.
absl::Status TextTooLong(std::string_view field, const TextSize& size);
absl::Status KvCapacityExceeded(int needed_blocks, int total_blocks);
absl::Status NoTokenizer(std::string_view field);
absl::Status NoChatTemplate(std::string_view why);  // empty: there is none
absl::Status ModelNotFound(std::string_view asked, std::string_view served);
absl::Status DuplicateRequestId(std::string_view request_id);
absl::Status Draining();
// `why`: what was expected and found of the credential.
absl::Status Unauthenticated(std::string_view why);
absl::Status PermissionDenied(std::string_view right, std::string_view holder);
// On the way in: the message was not whole in time, there is no room for more, it is too large.
absl::Status SlowSender();
absl::Status IntakeFull();
absl::Status MessageTooLarge(size_t num_bytes, size_t limit);
// On the way out. `fields` decide how large the answer becomes.
absl::Status AnswerTooLarge(std::string_view fields, size_t num_bytes, size_t limit);
absl::Status AnswersFull();
absl::Status SlowConsumer(size_t unread_bytes);
// How far loading has come.
struct LoadingStage {
  uint64_t loaded_bytes = 0;
  uint64_t total_bytes = 0;
  std::string text = {};             // in words
  Duration left = Duration::zero();  // at the rate so far; 0 where there is none yet
};
absl::Status Loading(const LoadingStage& stage);
struct RefusedRequest {
  std::string_view request_id = {};
  std::string_view tenant = {};  // for kTenantQuota
};
absl::Status StatusOfRefusal(const Refusal& refusal, const RefusedRequest& request);

// What the status of a call that ran says beside its cause.
struct EndedRun {
  const StreamEnd& end;
  size_t unread_bytes = 0;  // for kSlowConsumer: of the answer, not yet taken by the client
  std::string_view request_id = {};
};
// OK where the cause is a success.
absl::Status StatusOfRun(Cause cause, const EndedRun& ended);

// ErrorInfo's reason; empty where there is none.
std::string ReasonOf(const absl::Status& status);
// The cause of that reason; none for OK.
std::optional<Cause> CauseOf(const absl::Status& status);

// After which the same request may be sent here again, rounded up; none where a retry here makes no sense.
std::optional<std::chrono::milliseconds> RetryDelayOf(const absl::Status& status);

}  // namespace latentd
