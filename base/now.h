// The time for whoever is not handed one: all of the server but what tests drive. Any thread.
#pragma once

#include "base/clock.h"

namespace latentd {

inline TimePoint Now() { return SteadyClock().Now(); }

}  // namespace latentd
