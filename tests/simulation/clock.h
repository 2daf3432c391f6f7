// Virtual time and what happens in it. Time moves only when an event is taken; events of one moment come in an order
// that the seed draws, as threads of a machine would. An event's place among those of its moment follows from the event
// alone, not from what else was added before.
#pragma once

#include <cstdint>
#include <queue>
#include <tuple>
#include <vector>

#include "base/clock.h"

namespace latentd::simulation {

class VirtualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  // Never backwards: what is late happens now.
  void AdvanceTo(TimePoint then) { now_ = then > now_ ? then : now_; }

 private:
  TimePoint now_{std::chrono::seconds(1000)};
};

enum class EventKind : uint8_t {
  kArrival,
  kTurn,
  kCommands,
  kStepDone,
  kPublish,
  kEffects,
  kLookAgain,
  kRead,
  kFault,
  kQuiet
};

struct Event {
  EventKind kind = EventKind::kTurn;
  int subject = 0;    // the number of a request or a fault, as it was drawn
  int num_rests = 0;  // of the engine before, for a turn and for commands in it: late ones are void
};

class EventQueue {
 public:
  explicit EventQueue(uint64_t seed) : seed_(seed) {}

  void Add(TimePoint at, Event event);
  bool empty() const { return entries_.empty(); }
  // Moves the clock to the event's time.
  Event Take(VirtualClock& clock);

 private:
  struct Entry {
    TimePoint at;
    uint64_t turn;  // among those of the same time
    Event event;
    bool operator>(const Entry& other) const { return std::tie(at, turn) > std::tie(other.at, other.turn); }
  };

  const uint64_t seed_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> entries_;
};

}  // namespace latentd::simulation
