// Why a sequence ended, as the engine decided. kStopString alone is the publisher's, which finds it in the text: no
// SequenceEnd has it, AnswerEnd::reason says it.
#pragma once

#include <cstdint>

namespace latentd {

// The first six are successes: the reasons of api.md's SequenceEnd, and Score's.
enum class FinishReason : uint8_t {
  kEos,
  kStopString,
  kStopToken,
  kMaxTokens,
  kContextLimit,
  kScored,     // a Score request has all its log-probabilities
  kCancelled,  // by its client
  kAborted,    // by an operator
  kExpiredInQueue,
  kExpiredInPrefill,
  kExpiredInDecode,
  kSloUnattainable,  // its first token cannot come in time any more
  kSlowConsumer,
  kNonFiniteLogits,
  kDraining,
};

constexpr bool IsSuccess(FinishReason reason) { return reason <= FinishReason::kScored; }

}  // namespace latentd
