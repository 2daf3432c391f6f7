// Dynamic FP8 of activations (docs/spec/deepseek.md 4.3): per row and aligned group of 128, scale = max(amax, 1e-4) /
// 448, for ue8m0 the next power of two; code = value / scale to the nearest E4M3. Here whole activations;
// activation_codes-inl.h has what the verbs do to the rows that they make.
#pragma once

#include "base/thread_pool.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

// Codes and scales of all rows from their values; nothing where the activation has no room for codes.
void FillCodes(ThreadPool& pool, const Activation& activation);

}  // namespace latentd::cpu
