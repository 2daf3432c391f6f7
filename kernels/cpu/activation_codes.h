// Dynamic FP8 of activations (docs/spec/deepseek.md 4.3): per row and aligned group of 128, scale = max(amax, 1e-4) /
// 448, for ue8m0 the next power of two; code = value / scale to the nearest E4M3. Here whole activations;
// activation_codes-inl.h has what the verbs do to the rows that they make.
#pragma once

#include "base/thread_pool.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

// The operand of products with one activation. Products here are of floats: codes are decoded first, and the rounding
// of code · scale is part of the numerics.
struct LinearInputs {
  Tensor values;
  Tensor decoded = {};  // the codes' values; no values where the activation has no codes
  ScaleFormat scale_format = ScaleFormat::kF32;

  bool coded() const { return decoded.values != nullptr; }
  const Tensor& For(DType weight) const { return coded() && weight == DType::kE4M3 ? decoded : values; }
};

// Codes and scales of all rows from their values; nothing where the activation has no room for codes.
void FillCodes(ThreadPool& pool, const Activation& activation);

// to[row][i] = code · scale.
void DecodeCodes(ThreadPool& pool, const Activation& activation, const Tensor& to);

}  // namespace latentd::cpu
