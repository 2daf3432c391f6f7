// Names of the ways in which an RPC can end, and what there is to know of each; server/api/causes.h has the table. A
// new cause is a name here and a row there: a name without its row does not compile.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <absl/status/status.h>

#include "server/api/methods.h"

namespace latentd {

// Groups keep together and in this order: it is the one of the metrics.
enum class Cause : uint8_t {
  // Requests that ran, successes first.
  kEos,
  kStopString,
  kStopToken,
  kMaxTokens,
  kContextLimit,
  kScored,
  kClientCancel,
  kAdminAbort,
  kExpiredInQueue,
  kExpiredInPrefill,
  kExpiredInDecode,
  kSlowConsumer,
  kNanLogits,
  // RPCs that never reached the engine.
  kAnswered,
  kUnauthenticated,
  kPermissionDenied,
  kInvalidField,
  kUnsupportedFeature,
  kModelNotFound,
  kNoTokenizer,
  kNoChatTemplate,
  kAnswerTooLarge,
  kMessageTooLarge,
  kSlowSender,
  kIntakeFull,
  kAnswersFull,
  kEngineFault,
  // Refused for the state or the limits of the server.
  kContextLengthExceeded,
  kKvCapacityExceeded,
  kDuplicateRequestId,
  kQueueFull,
  kQueueTokens,
  kTenantQuota,
  kSloUnattainable,  // before a request ran, or while it waited
  kLoading,
  kDraining,  // before a request ran, or in the middle of it
};

enum class Party : uint8_t { kNone, kClient, kServer, kOperator };  // none: a success
// How far an RPC had come. A run is that of a request which the engine admitted; calls without a model have none.
enum class Stage : uint8_t {
  kBeforeRun,
  kAdmission,  // before a run, and counted as a rejection: for the state or the limits of the server
  kRun,
  kBeforeOrInRun,
  kAdmissionOrRun,     // a rejection, or in a run
  kBeforeOrBehindRun,  // behind it: the answer was made whole and never taken; such runs have no series of their own
};
// Which computed tokens were of no use to the client: what was generated past the end, or all of them.
enum class Waste : uint8_t { kNone, kSurplus, kAll };
// Whether the status has a RetryInfo; kHere also has gRPC's push-back, which makes a client try the same server again.
enum class Retry : uint8_t { kNone, kElsewhere, kHere };
// What of google.rpc the status has beside ErrorInfo and RetryInfo.
enum class Detail : uint8_t { kNone, kBadRequest, kRequestInfo, kResourceInfo, kQuotaFailure };

// Where it occurs.
struct Occurrence {
  MethodTraits methods = 0;  // those that have one of these traits
  Stage stage = Stage::kBeforeRun;
  Waste waste = Waste::kNone;
};

// The content of its status, if it is a failure.
struct StatusForm {
  Retry retry = Retry::kNone;
  Detail detail = Detail::kNone;
  std::array<std::string_view, 2> numbers = {};  // keys of ErrorInfo's metadata
  std::string_view message = {};                 // $0, $1 … are what its function in status.cc fills in

  constexpr size_t num_numbers() const { return static_cast<size_t>(!numbers[0].empty()) + !numbers[1].empty(); }
};

struct CauseName {
  Cause cause;
  absl::StatusCode code;
  std::string_view reason;  // of ErrorInfo, of the log and of the metrics
  Party party;
};

struct CauseRow : CauseName {
  Occurrence occurs;
  StatusForm status = {};

  constexpr bool is_success() const { return party == Party::kNone; }
  constexpr bool ends_before_run() const { return occurs.stage != Stage::kRun; }
  constexpr bool ends_run() const { return has_run_series() || occurs.stage == Stage::kBeforeOrBehindRun; }
  // Stages and waste of such runs are exported.
  constexpr bool has_run_series() const {
    return occurs.stage == Stage::kRun || occurs.stage == Stage::kBeforeOrInRun ||
           occurs.stage == Stage::kAdmissionOrRun;
  }
  constexpr bool refuses_admission() const {
    return occurs.stage == Stage::kAdmission || occurs.stage == Stage::kAdmissionOrRun;
  }
};

}  // namespace latentd
