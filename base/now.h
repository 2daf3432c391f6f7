// The time for code that is not handed one: all of the server but the parts that tests drive. Any thread.
#pragma once

#include "base/clock.h"

namespace latentd {

inline TimePoint Now() { return SteadyClock().Now(); }

}  // namespace latentd
