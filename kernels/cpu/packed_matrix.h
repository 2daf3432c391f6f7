// A weight as the multiplying loop wants it: panels of 64 outputs, [panel][k][64 codes], so that lanes run over outputs
// and one row reads memory as one stream. The 64 codes of one k are a line (64, 128 or 256 bytes). In a line the groups
// of 16 outputs lie so that one load, a shift and a mask give a vector in natural order for any power-of-two lane
// count:
//   E4M3  32 words of 16 bits: word i < 16 holds outputs i (high byte) and 32 + i (low byte), word 16 + i holds outputs
//         16 + i and 48 + i. Shifted into the fp16 format a code reads as w · 2^-8, subnormals too; the block scales
//         carry the missing 2^8. (Shifting into fp32 instead saves an instruction, but makes small weights subnormal
//         operands: a 100-cycle microcode assist per vector on some CPUs.) The NaN codes read as ±480: the loader must
//         refuse them.
//   bf16  32 words of 32 bits: word 16 g + i holds outputs 32 g + i (high half) and 32 g + 16 + i (low half).
//   fp32  plain.
// The matrix may be a slice of rows of a bigger one, as stored or transposed. 128 x 128 scale blocks belong to the full
// matrix, so a scaled slice keeps its place in it: a block of k ends where the full matrix's does (the first and the
// last may be short), and panels start at multiples of 64 of the full matrix's outputs, so that no panel has two scales
// for one k: the first panel may begin, and the last may end, with unused lanes, which are zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <absl/status/statusor.h>

#include "base/thread_pool.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

inline constexpr int kPanelOutputs = 64;
inline constexpr int kScaleBlock = 128;
// Rows that one product handles at once: their sums for one panel (48 KiB) stay in L2 beside the decoded weights.
inline constexpr int kMaxProductRows = 192;

enum class Orientation : uint8_t { kAsStored, kTransposed };

// Rows [first, first + count) of a source: as stored they are the outputs, transposed the inputs.
struct RowSlice {
  int first = 0;
  int count = 0;
  Orientation orientation = Orientation::kAsStored;
};

class PackedMatrix final : public Matrix {
 public:
  // RESOURCE_EXHAUSTED where the device has too little memory. The pool's threads share the copying.
  static absl::StatusOr<PackedMatrix> Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                           RowSlice slice);

  DType dtype() const { return dtype_; }
  int num_panels() const { return (first_lane_ + outputs + kPanelOutputs - 1) / kPanelOutputs; }
  size_t line_bytes() const { return kPanelOutputs * SizeOf(dtype_); }
  const std::byte* Panel(int panel) const {
    return codes_.As<std::byte>() + static_cast<size_t>(panel) * static_cast<size_t>(inputs) * line_bytes();
  }

  // Lanes [FirstLane, EndLane) of a panel are the outputs from FirstOutput on.
  int FirstLane(int panel) const { return panel == 0 ? first_lane_ : 0; }
  int EndLane(int panel) const { return std::min(kPanelOutputs, first_lane_ + outputs - panel * kPanelOutputs); }
  int FirstOutput(int panel) const { return panel == 0 ? 0 : panel * kPanelOutputs - first_lane_; }

  // Blocks of k: block b is [BlockBegin(b), BlockBegin(b + 1)), and Scale(panel, b) multiplies its sum (1 unless E4M3).
  int num_blocks() const { return (first_k_ + inputs + kScaleBlock - 1) / kScaleBlock; }
  int BlockBegin(int block) const { return std::clamp(block * kScaleBlock - first_k_, 0, inputs); }
  float Scale(int panel, int block) const {
    return scales_[static_cast<size_t>(panel) * static_cast<size_t>(num_blocks()) + static_cast<size_t>(block)];
  }

 private:
  PackedMatrix(const MatrixSource& source, RowSlice slice);
  void PackScales(const MatrixSource& source, RowSlice slice);

  DType dtype_;
  int first_lane_ = 0;  // unused lanes at the start of the first panel
  int first_k_ = 0;     // offset of the first input in its scale block
  DeviceBuffer codes_;
  std::vector<float> scales_;  // [panels][blocks]
};

// W_UK and W_UV of each head, cut from kv_b [num_heads * (nope_width + value_width), latent_width].
class KeyValueUp final : public Matrix {
 public:
  static absl::StatusOr<KeyValueUp> Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                         const AttentionShape& shape);

  // q̃ [latent_width] = W_UKᵀ q_n: outputs latent_width, inputs nope_width.
  const PackedMatrix& Key(int head) const { return key_[static_cast<size_t>(head)]; }
  // out [value_width] = W_UV m: outputs value_width, inputs latent_width.
  const PackedMatrix& Value(int head) const { return value_[static_cast<size_t>(head)]; }
  // Heads start at any row of kv_b, so their slices need not have equally many panels.
  int MostValuePanels() const {
    int most = 0;
    for (const PackedMatrix& value : value_) most = std::max(most, value.num_panels());
    return most;
  }

 private:
  using Matrix::Matrix;

  std::vector<PackedMatrix> key_;
  std::vector<PackedMatrix> value_;
};

}  // namespace latentd::cpu
