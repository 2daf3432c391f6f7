// A stretch of k of one panel, copied from a weight as it is stored into the lines that packed_matrix.h describes. Made
// for the speed of memory: packing is most of a start. Any thread.
#pragma once

#include <cstddef>

#include "kernels/tensor.h"

namespace latentd::cpu {

// k that a16 sums together (docs/spec/numerics.md): the k of a stretch are filled up with zeros to whole groups.
inline constexpr int kGroupInputs = 32;
static_assert(kInt4Group == kGroupInputs);
inline constexpr int kPanelOutputs = 64;
inline constexpr size_t kLineBytes = 256;  // of a panel's outputs
static_assert(kLineBytes == kPanelOutputs * sizeof(float));

// Inputs of one line: 4 bytes of each output.
constexpr int LineInputs(DType dtype) { return dtype == DType::kInt4 ? 8 : static_cast<int>(4 / SizeOf(dtype)); }

// Bytes of the lines of `num_inputs` inputs.
constexpr size_t LinesBytes(DType dtype, int num_inputs) {
  const int padded = (num_inputs + kGroupInputs - 1) / kGroupInputs * kGroupInputs;
  return static_cast<size_t>(padded / LineInputs(dtype)) * kLineBytes;
}

struct LineCopy {
  const std::byte* from = nullptr;  // the code of first_lane for the first k
  size_t output_step = 0;           // distance of two outputs, in codes: the row as stored, 1 transposed
  size_t input_step = 0;            // of two inputs, in codes: 1 as stored, the row transposed
  int first_lane = 0;               // outputs [first_lane, end_lane) of the panel's 64; the others become zeros
  int end_lane = 0;
  int num_inputs = 0;  // kInt4: up to the end of the rows
};

// Writes LinesBytes(dtype, copy.num_inputs) bytes. kF32, kBf16, kE4M3, or kInt4 as stored.
void PackLines(DType dtype, const LineCopy& copy, std::byte* to);

}  // namespace latentd::cpu
