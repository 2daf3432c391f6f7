#include "server/api/causes.h"

#include "base/check.h"

namespace latentd {

std::optional<Cause> FindCause(std::string_view reason) {
  for (const CauseRow& row : kCauses) {
    if (row.reason == reason) return row.cause;
  }
  return std::nullopt;
}

Cause CauseOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return Cause::kEos;
    case FinishReason::kStopString:
      return Cause::kStopString;
    case FinishReason::kStopToken:
      return Cause::kStopToken;
    case FinishReason::kMaxTokens:
      return Cause::kMaxTokens;
    case FinishReason::kContextLimit:
      return Cause::kContextLimit;
    case FinishReason::kScored:
      return Cause::kScored;
    case FinishReason::kCancelled:
      return Cause::kClientCancel;
    case FinishReason::kAborted:
      return Cause::kAdminAbort;
    case FinishReason::kExpiredInQueue:
      return Cause::kExpiredInQueue;
    case FinishReason::kExpiredInPrefill:
      return Cause::kExpiredInPrefill;
    case FinishReason::kExpiredInDecode:
      return Cause::kExpiredInDecode;
    case FinishReason::kSloUnattainable:
      return Cause::kSloUnattainable;
    case FinishReason::kSlowConsumer:
      return Cause::kSlowConsumer;
    case FinishReason::kNonFiniteLogits:
      return Cause::kNanLogits;
    case FinishReason::kDraining:
      return Cause::kDraining;
  }
  CHECK(false);
}

}  // namespace latentd
