// The memory that steps take beside weights and cache, told before it is taken.
#pragma once

#include <cstdint>

#include "engine/load/choose_backend.h"
#include "engine/load/choose_numerics.h"
#include "engine/load/load_options.h"
#include "engine/model/model.h"

namespace latentd {

struct StepSizes {
  int tokens = 0;      // of the largest step
  int max_drafts = 0;  // of one sequence; 0: the layer that drafts is not loaded
  int context = 0;
};

// What Model::Load may be asked for where steps are at most so large, the cache's blocks aside.
ModelLimits LimitsFor(const LoadOptions& options, const ChosenBackend& chosen, const Numerics& numerics,
                      const StepSizes& sizes);

// Activations, angles and the backend's scratch.
uint64_t StepBytes(const LoadOptions& options, const ModelConfig& config, const ChosenBackend& chosen,
                   const ModelLimits& limits);

}  // namespace latentd
