// All that a reader of the events may know at one moment, for one that lost some: a clearing, then each block that can
// be found, numbered so that the last has the number of the last event. There were as many events, so numbers suffice.
// Takes time by the number of blocks. Engine thread only.
#pragma once

#include <vector>

#include "engine/schedule/kv_events.h"
#include "engine/schedule/scheduler.h"

namespace latentd {

std::vector<KvEvent> KvSnapshot(const Scheduler& scheduler);

}  // namespace latentd
