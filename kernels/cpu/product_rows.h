// The rows of activations that a product reads, as its arithmetic wants them (docs/spec/numerics.md).
#pragma once

#include <cstdint>

namespace latentd::cpu {

// a32 sums fp32 activations one k after the other. a16 sums activations that are exact in bf16 in the order of Intel's
// tile unit: groups of 32 k, even and odd k by themselves, subnormals as zero.
enum class Arithmetic : uint8_t { kA32, kA16 };

struct ProductRows {
  Arithmetic arithmetic = Arithmetic::kA32;
  // [row] -> the row's values; under a16 those of bf16 numbers, or of FP8 codes where there are scales.
  const float* const* values = nullptr;
  // [row] -> the scale of each group of 128 codes; null where there are no codes.
  const float* const* scales = nullptr;

  ProductRows From(int row) const {
    return {.arithmetic = arithmetic, .values = values + row, .scales = scales == nullptr ? nullptr : scales + row};
  }
};

}  // namespace latentd::cpu
