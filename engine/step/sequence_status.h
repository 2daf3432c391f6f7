// Where one sequence stands in the engine, as told between two steps: a copy that any thread may keep.
#pragma once

#include <functional>
#include <vector>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/request.h"

namespace latentd {

struct SequenceStatus {
  SequenceId id = {};
  Phase phase = Phase::kQueued;
  TimePoint phase_began{};
  int prompt_tokens = 0;
  int computed_tokens = 0;
  int generated_tokens = 0;
  int kv_blocks = 0;
};

// Called once by the engine thread: must neither block nor call the engine.
using StatusListener = std::function<void(std::vector<SequenceStatus>)>;

}  // namespace latentd
