#include "tests/simulation/clock.h"

#include "tests/simulation/random.h"

namespace latentd::simulation {

void EventQueue::Add(TimePoint at, Event event) { entries_.push({at, Mix(seed_, ++num_added_), event}); }

Event EventQueue::Take(VirtualClock& clock) {
  const Entry first = entries_.top();
  entries_.pop();
  clock.AdvanceTo(first.at);
  return first.event;
}

}  // namespace latentd::simulation
