// A rule that did not hold. The process that runs the world says so on its standard error, the engine's last decisions
// and then one line, and ends: what is broken is not worth unwinding. The process that started it reads the line
// (runs.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/schedule/flight_recorder.h"

namespace latentd::simulation {

enum class Rule : uint8_t {
  kBlocks,    // conservation, reference counts, two owners
  kSlots,     // a slot holds something else than was written for its reader
  kCache,     // a hit that must not be: too long, of another salt, of what was to leave nothing behind
  kBudget,    // more in a step than it may have
  kOrder,     // the ranking: who starts, who is preempted
  kShare,     // a tenant's service is not what it got
  kEnded,     // computed for a request that had ended
  kOneEnd,    // an end too many, or output after it
  kReason,    // an end for which there was no cause
  kOutput,    // not what the request gives alone
  kTimes,     // events of one request out of order
  kQueue,     // what waits is not what was let in
  kBackLog,   // back-pressure: pauses, resumes, pending bytes
  kEvents,    // who follows the cache's events knows something else than what can be found
  kMetrics,   // the laws of the counters
  kLiveness,  // something that was admitted does not end
  kCheck,     // a CHECK of the product
};

std::string_view NameOf(Rule rule);

inline constexpr int kViolatedExitCode = 3;

// Whose decisions are told where a rule is broken or a CHECK fails, from here on; null: none.
void TellDecisionsOf(const FlightRecorder* recorder);

[[noreturn]] void Violate(Rule rule, const std::string& what);

// `what()` is only called, and its text only made, where the rule is broken.
template <class What>
void Require(bool holds, Rule rule, const What& what) {
  if (!holds) [[unlikely]]
    Violate(rule, what());
}

}  // namespace latentd::simulation
