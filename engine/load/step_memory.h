// The memory that steps take beside weights and cache, told before it is taken.
#pragma once

#include <cstdint>

#include "engine/load/choose_backend.h"
#include "engine/load/choose_numerics.h"
#include "engine/load/load_options.h"
#include "engine/model/model.h"

namespace latentd {

// What Model::Load may be asked for where steps have at most `step_tokens` tokens, the cache's blocks aside.
ModelLimits LimitsFor(const LoadOptions& options, const ChosenBackend& chosen, const Numerics& numerics,
                      int step_tokens, int context);

// Activations, angles and the backend's scratch.
uint64_t StepBytes(const LoadOptions& options, const ModelConfig& config, const ChosenBackend& chosen,
                   const ModelLimits& limits);

}  // namespace latentd
