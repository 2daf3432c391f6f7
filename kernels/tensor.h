// The operands of the verbs in ops.h: views of activations and of the cache, weights as stored and as packed.
// Views own nothing; their memory came from a Device and outlives the step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/cache_block.h"

namespace latentd {

// kInt4: eight values to a little-endian word of 32 bits, the first in its lowest four; a nibble stands for itself - 8.
enum class DType : uint8_t { kF32, kBf16, kE4M3, kE8M0, kInt4 };

// Bytes of a value. A nibble has none of its own: rows are counted with RowBytes.
constexpr size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kBf16:
      return 2;
    case DType::kE4M3:
    case DType::kE8M0:
      return 1;
    case DType::kInt4:
      break;
  }
  return 0;
}

// Bytes of a stored row of so many values. One of kInt4 fills its last word with nibbles that mean nothing.
constexpr size_t RowBytes(DType dtype, int width) {
  const auto values = static_cast<size_t>(width);
  return dtype == DType::kInt4 ? (values + 7) / 8 * 4 : values * SizeOf(dtype);
}

// fp32 values [rows, width], rows `stride` values apart. The padding between width and stride is never read.
struct Tensor {
  float* values = nullptr;
  int rows = 0;
  int width = 0;
  int stride = 0;

  float* Row(int row) const { return values + static_cast<size_t>(row) * static_cast<size_t>(stride); }
  Tensor FirstRows(int count) const { return {values, count, width, stride}; }
};

inline constexpr int kCodeGroup = 128;  // values that share a scale (docs/spec/deepseek.md 4.3)
inline constexpr int kInt4Group = 32;   // inputs of a kInt4 row that share a scale

// Scales of FP8 codes. ue8m0: powers of two, rounded up; right for checkpoints whose weights were trained so, and only
// for them.
enum class ScaleFormat : uint8_t { kF32, kUe8m0 };

// What products with weights, and with cached latents, read of their inputs (docs/spec/numerics.md): fp32 values as
// they are; values rounded to bf16, everywhere; E4M3 codes where the weight is E4M3, and elsewhere fp32.
enum class ActivationFormat : uint8_t { kF32, kBf16, kE4M3 };

constexpr std::string_view NameOf(ActivationFormat format) {
  constexpr std::string_view kNames[] = {"fp32", "bf16", "fp8"};
  return kNames[static_cast<size_t>(format)];
}

// The input of a Linear: values and, where the verb that made them filled them, the same values as E4M3 codes with a
// scale for each group of 128, so that no row is quantised twice. value ≈ code · scale; codes behind the width are 0.
struct Activation {
  Activation() = default;
  Activation(const Tensor& values) : values(values) {}  // NOLINT: a tensor is an activation without codes

  int num_groups() const { return (values.width + kCodeGroup - 1) / kCodeGroup; }
  int code_stride() const { return num_groups() * kCodeGroup; }

  Tensor values;
  uint8_t* codes = nullptr;  // [rows, code_stride()]; null: there are none
  float* scales = nullptr;   // [rows, num_groups()]
  ScaleFormat scale_format = ScaleFormat::kF32;
};

class RowLender;

// A weight as the checkpoint stores it: row-major [outputs, inputs], bytes of any alignment (a mapped file), one row
// behind the other without a gap. A part of each row is no source: a process that holds some of the inputs needs a
// stride here and in every Pack verb.
struct MatrixSource {
  DType dtype = DType::kF32;  // kF32, kBf16, kE4M3 or kInt4
  int outputs = 0;
  int inputs = 0;
  const std::byte* bytes = nullptr;
  std::span<const float> scales = {};       // kE4M3: [⌈outputs/128⌉, ⌈inputs/128⌉] multipliers; empty otherwise
  const std::byte* group_scales = nullptr;  // kInt4: bf16 [outputs, ⌈inputs/32⌉] of any alignment, lent with the rows
  RowLender* lender = nullptr;              // who packs the bytes borrows them from it; null: they are just there
  bool keeps_inputs = false;   // products with it read fp32 values whatever the ActivationFormat: the router's
  std::string_view name = {};  // the tensor's, for profiles; lives as long as the bytes
};

// A weight in its backend's own layout; only the backend that packed it looks inside.
class Matrix {
 public:
  Matrix(int outputs, int inputs) : outputs(outputs), inputs(inputs) {}
  virtual ~Matrix() = default;

  const int outputs;
  const int inputs;
};

// Sizes of one attention layer (paper: H, d_n, d_r, d_v, r).
struct AttentionShape {
  int num_heads = 0;
  int nope_width = 0;
  int rope_width = 0;
  int value_width = 0;
  int latent_width = 0;

  int query_width() const { return nope_width + rope_width; }
};

// The format of a token in the cache. fp32 and bf16 values are padded with zeros to whole multiples of 16; of kFp8 only
// the latent is E4M3 (docs/spec/deepseek.md 7.2).
enum class LatentFormat : uint8_t { kF32, kBf16, kFp8 };

constexpr std::string_view NameOf(LatentFormat format) {
  constexpr std::string_view kNames[] = {"fp32", "bf16", "fp8"};
  return kNames[static_cast<size_t>(format)];
}

// One layer of the paged latent cache: [num_blocks][kBlockSlots] slots of slot_bytes(). A slot holds the normed latent
// (latent_width), then the rotated shared key part (rope_width):
//   kF32, kBf16  slot_values() values, the padding included
//   kFp8         a code for each value of the latent, an fp32 scale for each group of 128 codes, the key part in bf16;
//                nothing is aligned
struct LatentPages {
  std::byte* bytes = nullptr;
  LatentFormat format = LatentFormat::kF32;
  int num_blocks = 0;
  int latent_width = 0;
  int rope_width = 0;

  int num_groups() const { return (latent_width + kCodeGroup - 1) / kCodeGroup; }
  int slot_values() const { return (latent_width + rope_width + 15) / 16 * 16; }
  size_t slot_bytes() const {
    const auto values = static_cast<size_t>(slot_values()), latent = static_cast<size_t>(latent_width);
    if (format == LatentFormat::kF32) return values * sizeof(float);
    if (format == LatentFormat::kBf16) return values * sizeof(uint16_t);
    return latent + static_cast<size_t>(num_groups()) * sizeof(float) +
           static_cast<size_t>(rope_width) * sizeof(uint16_t);
  }
  size_t block_bytes() const { return kBlockSlots * slot_bytes(); }
  std::byte* Slot(int slot) const { return bytes + static_cast<size_t>(slot) * slot_bytes(); }
};

// Rotary angles for every position that the context allows (docs/spec/deepseek.md 3.4): row p holds rope_width/2
// cosines, then as many sines. Adjacent pairing rotates x[2i] with x[2i+1], half-split x[i] with x[i + rope_width/2].
enum class RopePairs : uint8_t { kAdjacent, kHalfSplit };
struct RopeTable {
  Tensor angles;  // [max_positions, rope_width]
  RopePairs pairs = RopePairs::kAdjacent;
};

// How scores become a choice of experts (docs/spec/deepseek.md 3.6). V2, V3 and their relatives differ in data only.
enum class ExpertScore : uint8_t { kSoftmax, kSigmoid };
enum class GroupScore : uint8_t { kMax, kTopTwoSum };
inline constexpr int kMostExperts = 512, kMostExpertsPerToken = 32;  // every backend has room for so many
struct RoutingRule {
  int num_experts = 0;
  int experts_per_token = 0;
  int num_groups = 1;
  int groups_per_token = 1;
  ExpertScore score = ExpertScore::kSigmoid;
  GroupScore group_score = GroupScore::kTopTwoSum;
  bool normalize = true;
  float scale = 1.0f;
};

// The experts of each token, in descending order of their selection score, and their weights, scaling included.
struct Routing {
  int32_t* experts = nullptr;  // [rows, experts_per_token]
  float* weights = nullptr;    // [rows, experts_per_token]
  int rows = 0;
  int experts_per_token = 0;
};

struct ExpertSource {
  MatrixSource gate;  // [width, hidden]
  MatrixSource up;    // [width, hidden]
  MatrixSource down;  // [hidden, width]
};

// A layer's experts in their backend's own layout: a device finds them by id, so they are packed together.
class Experts {
 public:
  virtual ~Experts() = default;
};

}  // namespace latentd
