// A weight as the multiplying loops want it, the same bytes for every arithmetic and instruction set: panels of 64
// outputs, each one stream of lines of 256 bytes, so that one row reads memory in order and lanes run over outputs. A
// line holds some consecutive k of all 64 outputs, two k of an output side by side, as tiles and vectors of pairs want
// them:
//   fp32  1 k: [64 outputs]
//   bf16  2 k: [64 outputs][2 k]. 16 outputs of a line are a row of a tile (VNNI)
//   E4M3  4 k: [4 groups of 16 outputs][4 quads of outputs][2 pairs of k][4 outputs][2 k]. The codes of a group decode
//         into two planes of bytes, whose interleaved lower and upper halves are the rows of its two pairs
//   INT4  8 k: [64 outputs][8 k], a word of the checkpoint: the first k in its lowest four bits, each nibble - 8
// The NaN codes read as ±480: the loader must refuse them.
//
// The matrix may be a slice of rows of a bigger one, as stored or transposed. 128 x 128 scale blocks belong to the full
// matrix, so a scaled slice keeps its place in it: a block of k ends where the full matrix's does (the first and the
// last may be short), and panels start at multiples of 64 of the full matrix's outputs, so that no panel has two scales
// for one k: the first panel may begin, and the last may end, with unused lanes, which are zero. Each block starts a
// line and is filled up with zeros to whole groups of kGroupInputs k.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <absl/status/statusor.h>

#include "base/thread_pool.h"
#include "kernels/cpu/pack_lines.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

inline constexpr int kScaleBlock = 128;
static_assert(kCodeGroup == kScaleBlock);  // a8: a sum of a block has a scale of its inputs, too
// Rows that one product handles at once: their sums for one panel (48 KiB) stay in L2 beside the decoded weights.
inline constexpr int kMaxProductRows = 192;

enum class Orientation : uint8_t { kAsStored, kTransposed };

// Rows [first, first + count) of a source: as stored they are the outputs, transposed the inputs.
struct RowSlice {
  int first = 0;
  int count = 0;
  Orientation orientation = Orientation::kAsStored;
};

// Bytes of the scales of so many k of INT4 of a panel.
constexpr size_t GroupScalesBytes(int packed_inputs) {
  return static_cast<size_t>(packed_inputs / kInt4Group) * kPanelOutputs * sizeof(uint16_t);
}

class PackedMatrix final : public Matrix {
 public:
  // RESOURCE_EXHAUSTED where the device has too little memory. The pool's threads share the copying.
  static absl::StatusOr<PackedMatrix> Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                           RowSlice slice);
  // The same in two steps, for many matrices whose panels the threads share as one region: memory, then the copying.
  // The sources must live until then.
  static absl::StatusOr<PackedMatrix> Reserve(Device& device, const MatrixSource& source, RowSlice slice);
  struct Unfilled {
    PackedMatrix* matrix;
    const MatrixSource* source;
    RowSlice slice;
  };
  static void Fill(ThreadPool& pool, std::span<const Unfilled> matrices);

  DType dtype() const { return dtype_; }
  int num_panels() const { return (first_lane_ + outputs + kPanelOutputs - 1) / kPanelOutputs; }
  const std::byte* Panel(int panel) const {
    return codes_.As<std::byte>() + static_cast<size_t>(panel) * panel_bytes();
  }
  size_t panel_bytes() const {
    const int packed_inputs = PackedBegin(num_blocks());
    return LinesBefore(packed_inputs) + (has_group_scales() ? GroupScalesBytes(packed_inputs) : 0);
  }

  // Lanes [FirstLane, EndLane) of a panel are the outputs from FirstOutput on.
  int FirstLane(int panel) const { return panel == 0 ? first_lane_ : 0; }
  int EndLane(int panel) const { return std::min(kPanelOutputs, first_lane_ + outputs - panel * kPanelOutputs); }
  int FirstOutput(int panel) const { return panel == 0 ? 0 : panel * kPanelOutputs - first_lane_; }

  // Blocks of k: block b is [BlockBegin(b), BlockBegin(b + 1)), and Scale(panel, b) multiplies its sum. Only E4M3 has
  // more than one. PackedBegin counts the zeros behind the blocks before it, too.
  int num_blocks() const { return is_scaled() ? (first_k_ + inputs + kScaleBlock - 1) / kScaleBlock : 1; }
  int BlockBegin(int block) const {
    return is_scaled() ? std::clamp(block * kScaleBlock - first_k_, 0, inputs) : block * inputs;
  }
  int PackedBegin(int block) const;
  // Bytes of the lines of so many k from a panel's start.
  size_t LinesBefore(int packed_k) const { return static_cast<size_t>(packed_k / LineInputs(dtype_)) * kLineBytes; }
  bool keeps_inputs() const { return keeps_inputs_; }
  bool is_scaled() const { return dtype_ == DType::kE4M3; }
  const float* Scales(int panel) const {  // [num_blocks()]
    return scales_.data() + static_cast<size_t>(panel) * static_cast<size_t>(num_blocks());
  }
  float Scale(int panel, int block) const { return Scales(panel)[block]; }

  // INT4: behind the lines of each kScaleBlock k, or of what is left of them at the end, lie the scales of their
  // groups, each of which multiplies its lane's sum: bf16 [groups of kInt4Group k][64 lanes].
  bool has_group_scales() const { return dtype_ == DType::kInt4; }

 private:
  PackedMatrix(const MatrixSource& source, RowSlice slice);
  void PackScales(const MatrixSource& source, RowSlice slice);
  void PackPanel(const MatrixSource& source, RowSlice slice, int panel);
  void PackInt4Panel(const MatrixSource& source, int panel);

  DType dtype_;
  bool keeps_inputs_;
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
