// Why a sequence ended. Decided by the engine, except kStopString, which the publisher finds in the text.
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
  kSlowConsumer,
  kNonFiniteLogits,
  kDraining,
};

}  // namespace latentd
