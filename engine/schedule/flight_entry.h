// What the flight recorder keeps of one decision of the engine. A value, without the engine's other types, so that a
// dump can be read by programs that have no engine. Dumps hold these numbers: a change of their meaning, or of an
// enumerator that they name, is a new kVersion in engine/schedule/flight_dump.h.
#pragma once

#include <array>
#include <cstdint>

namespace latentd {

// With what `numbers` say. Those of a request have index 0; those of no request have neither.
enum class FlightDecision : uint8_t {
  kSubmit,     // of a request: prompt tokens, most tokens to generate, priority, sequences
  kAdmit,      // cached tokens, first position to compute, blocks held
  kChunk,      // of a prompt, or of what a preemption lost: first position, tokens. Rows that decode are kStep's
  kHit,        // cached tokens, whole blocks of them; tokens lost to eviction, to the salt
  kCopy,       // from block, to block, slots
  kPublish,    // committed tokens that can be found from now on
  kPreempt,    // PreemptionReason, computed tokens, blocks given back
  kEvict,      // of no request: block
  kFinish,     // FinishReason, generated tokens, computed tokens
  kPause,      // computed tokens
  kResume,     // computed tokens
  kCancel,     // of a request, when the command came: FinishReason
  kCancelAll,  // of no request: FinishReason
  kFlush,      // of no request: blocks freed
  kWait,       // of no request: WaitReason, sequences that a step left waiting
  kStep,       // of no request, when it was over: rows, tokens, microseconds, rows that decoded
};
inline constexpr int kNumFlightDecisions = 16;
static_assert(static_cast<int>(FlightDecision::kStep) == kNumFlightDecisions - 1);

struct FlightEntry {
  int64_t nanoseconds = 0;  // of the engine's clock
  FlightDecision decision = FlightDecision::kSubmit;
  uint64_t request = 0;
  int32_t index = 0;  // of the request's sequences
  std::array<int32_t, 4> numbers{};
  bool operator==(const FlightEntry&) const = default;
};

}  // namespace latentd
