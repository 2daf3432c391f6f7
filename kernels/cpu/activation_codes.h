// Dynamic FP8 of activations (spec 4.3): per row and aligned group of 128, scale = max(amax, 1e-4) / 448, code = value
// / scale to the nearest E4M3. The definition, one row at a time.
#pragma once

#include "kernels/tensor.h"

namespace latentd::cpu {

// Codes and scales of a row from its values; nothing where the activation has no room for codes.
void FillCodes(const Activation& activation, int row);

// What the codes stand for: to[0 … width) = code · scale.
void DecodeCodes(const Activation& activation, int row, float* to);

}  // namespace latentd::cpu
