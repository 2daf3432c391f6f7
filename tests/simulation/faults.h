// What goes wrong in a world, and when: drawn in advance, so that a run can be repeated with fewer of them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "tests/simulation/random.h"

namespace latentd::simulation {

enum class FaultKind : uint8_t {
  kCancel,         // its client cancels
  kAbort,          // an operator does
  kVanish,         // its client is gone: nothing reads any more, and the RPC is cancelled
  kStall,          // its client reads nothing for `length`
  kNonFinite,      // the logits of its token number `count` are not finite
  kLongStep,       // a step takes `length` longer
  kLatePublisher,  // nothing is published for `length`
  kClockJump,      // forward by `length`
  kDescribe,       // no fault: an operator asks for the list of requests
  kFlush,          // no fault either: he empties the prefix cache
  kStopAdmitting,  // a drain begins
  kEndAll,         // its time is over
};

// When it happens. Those of a request are also meant for the moments that no clock hits.
enum class Moment : uint8_t {
  kTime,     // `at` after the start
  kArrival,  // submitted, and not yet seen by the engine
  kRow,      // row number `count` of the request is in a step
  kToken,    // the reader has `count` tokens
  kEnd,      // the end was taken
};

struct Fault {
  int number = 0;  // in the scenario as it was drawn
  FaultKind kind = FaultKind::kCancel;
  Moment moment = Moment::kTime;
  Duration at{};
  int request = -1;  // its number
  int count = 0;
  Duration length{};
};

std::string_view NameOf(FaultKind kind);

// For a scenario of so many requests that arrive within `span`.
std::vector<Fault> DrawFaults(int num_requests, Duration span, Random& random);

}  // namespace latentd::simulation
