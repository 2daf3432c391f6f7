#include "tests/simulation/clock.h"

#include "tests/simulation/random.h"

namespace latentd::simulation {

void EventQueue::Add(TimePoint at, Event event) {
  const uint64_t what = Mix(static_cast<uint64_t>(event.kind), static_cast<uint64_t>(event.subject));
  const auto when = static_cast<uint64_t>(at.time_since_epoch().count());
  entries_.push({at, Mix(Mix(seed_, what), when), event});
}

Event EventQueue::Take(VirtualClock& clock) {
  const Entry first = entries_.top();
  entries_.pop();
  clock.AdvanceTo(first.at);
  return first.event;
}

}  // namespace latentd::simulation
