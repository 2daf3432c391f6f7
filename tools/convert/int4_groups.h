// Groups of 32 inputs as INT4 codes and a scale (docs/spec/deepseek.md 4.6), and which weights become so.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/model/checkpoint/tensor_catalog.h"
#include "kernels/tensor.h"

namespace latentd {

// kRoutedExperts: as Kimi's models are published. Both leave out what may never be INT4.
enum class Int4Tensors : uint8_t { kRoutedExperts, kProjections };
bool BecomesInt4(const ExpectedTensor& tensor, Int4Tensors tensors);

// kNearest: the largest magnitude becomes 7 or -7. kSearched: of a few scales the one with the least squared error;
// most are negative where the largest value is positive, so that it becomes -8, the one code without an opposite.
enum class Int4Scales : uint8_t { kNearest, kSearched };

struct Int4Codes {
  float scale = 0.0f;                            // exact in bf16, not 0
  std::array<uint8_t, kInt4Group> nibbles = {};  // code + 8; that of zero behind the values
};

// For at most kInt4Group finite values. The same values give the same codes on every machine.
Int4Codes QuantizeGroup(std::span<const float> values, Int4Scales scales);

}  // namespace latentd
