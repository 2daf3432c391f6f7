// One step between Engine::Begin and Engine::Complete: what was planned and launched, and is not committed. A value
// that belongs to the engine's caller; every one must be completed, in the order in which they began.
#pragma once

#include "base/clock.h"
#include "engine/schedule/batch_plan.h"

namespace latentd {

struct StepInFlight {
  BatchPlan plan;
  int auto_drafts = 0;  // as its allowance has it
  TimePoint started{};
};

}  // namespace latentd
