// What CpuOps::Reserve takes for steps within some limits, told before it does: each beside the Reserve that takes it.
#pragma once

#include <cstddef>

#include "kernels/ops.h"

namespace latentd::cpu {

// ProductInputs, ExpertScratch and AttentionScratch.
size_t ProductInputBytes(const StepLimits& limits);
size_t ExpertScratchBytes(const StepLimits& limits);
size_t AttentionScratchBytes(const StepLimits& limits, int num_threads);

// All of CpuOps, sampling included.
size_t ScratchBytes(const StepLimits& limits, int num_threads);

}  // namespace latentd::cpu
