#include "kernels/cpu/packed_matrix.h"

#include <cstdint>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/row_lender.h"

namespace latentd::cpu {
namespace {

constexpr float kE4M3Unit = 0x1p8f;  // the register decoder gives w · 2^-8

// Where a lane's code lies in its line, in codes.
constexpr int PositionOf(DType dtype, int lane) {
  switch (dtype) {
    case DType::kE4M3:
      return 2 * (lane % 32) + (lane < 32 ? 1 : 0);
    case DType::kBf16:
      return lane / 32 * 32 + lane % 16 * 2 + (lane % 32 < 16 ? 1 : 0);
    default:
      return lane;
  }
}

struct PanelCopy {
  const std::byte* from = nullptr;  // the code of first_lane for k = 0
  size_t lane_step = 0;             // distance of two outputs in the source, in codes
  size_t k_step = 0;
  std::byte* to = nullptr;
  int first_lane = 0;
  int end_lane = 0;
  int inputs = 0;
};

// In stretches of 64 k, so that the lines being scattered to stay in L1.
template <class Code>
void CopyPanel(DType dtype, const PanelCopy& copy) {
  constexpr int kStretch = 64;
  for (int begin = 0; begin < copy.inputs; begin += kStretch) {
    const int end = std::min(begin + kStretch, copy.inputs);
    for (int lane = copy.first_lane; lane < copy.end_lane; ++lane) {
      const auto offset = static_cast<size_t>(lane - copy.first_lane) * copy.lane_step;
      const auto position = static_cast<size_t>(PositionOf(dtype, lane));
      for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k) {
        std::memcpy(copy.to + (k * kPanelOutputs + position) * sizeof(Code),
                    copy.from + (offset + k * copy.k_step) * sizeof(Code), sizeof(Code));
      }
    }
  }
}

void CopyPanel(DType dtype, const PanelCopy& copy) {
  switch (dtype) {
    case DType::kE4M3:
      return CopyPanel<uint8_t>(dtype, copy);
    case DType::kBf16:
      return CopyPanel<uint16_t>(dtype, copy);
    default:
      return CopyPanel<uint32_t>(dtype, copy);
  }
}

int Outputs(const MatrixSource& source, RowSlice slice) {
  return slice.orientation == Orientation::kAsStored ? slice.count : source.inputs;
}
int Inputs(const MatrixSource& source, RowSlice slice) {
  return slice.orientation == Orientation::kAsStored ? source.inputs : slice.count;
}

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

}  // namespace

PackedMatrix::PackedMatrix(const MatrixSource& source, RowSlice slice)
    : Matrix(Outputs(source, slice), Inputs(source, slice)), dtype_(source.dtype) {
  if (dtype_ != DType::kE4M3) return;
  if (slice.orientation == Orientation::kAsStored) {
    first_lane_ = slice.first % kPanelOutputs;
  } else {
    first_k_ = slice.first % kScaleBlock;
  }
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                                RowSlice slice) {
  if (source.dtype == DType::kInt4) return absl::UnimplementedError("expected FP8, BF16 or F32 weights, found INT4");
  CHECK(source.dtype == DType::kF32 || source.dtype == DType::kBf16 || source.dtype == DType::kE4M3);
  CHECK_GE(slice.first, 0);
  CHECK_LE(slice.first + slice.count, source.outputs);
  const bool as_stored = slice.orientation == Orientation::kAsStored;
  CHECK(as_stored || source.lender == nullptr);  // panels of a transposed slice share rows
  PackedMatrix packed(source, slice);
  const size_t panel_bytes = static_cast<size_t>(packed.inputs) * packed.line_bytes();
  absl::StatusOr<DeviceBuffer> codes = device.Allocate(static_cast<size_t>(packed.num_panels()) * panel_bytes);
  if (!codes.ok()) return codes.status();
  packed.codes_ = *std::move(codes);
  packed.PackScales(source, slice);

  const size_t row = static_cast<size_t>(source.inputs);
  const size_t lane_step = as_stored ? row : 1;
  const std::byte* first = source.bytes + static_cast<size_t>(slice.first) * row * SizeOf(source.dtype);
  pool.ForEach(packed.num_panels(), [&](int panel, int) {
    const int first_output = packed.FirstOutput(panel), num_outputs = packed.EndLane(panel) - packed.FirstLane(panel);
    const BorrowedRows rows(source, slice.first + first_output, num_outputs);
    const auto outputs_before = static_cast<size_t>(first_output);
    CopyPanel(packed.dtype(), {.from = first + outputs_before * lane_step * SizeOf(source.dtype),
                               .lane_step = lane_step,
                               .k_step = as_stored ? 1 : row,
                               .to = packed.codes_.As<std::byte>() + static_cast<size_t>(panel) * panel_bytes,
                               .first_lane = packed.FirstLane(panel),
                               .end_lane = packed.EndLane(panel),
                               .inputs = packed.inputs});
  });
  return packed;
}

void PackedMatrix::PackScales(const MatrixSource& source, RowSlice slice) {
  scales_.assign(static_cast<size_t>(num_panels()) * static_cast<size_t>(num_blocks()), 1.0f);
  if (dtype_ != DType::kE4M3) return;
  const int columns = CeilDiv(source.inputs, kScaleBlock);
  CHECK_EQ(source.scales.size(), static_cast<size_t>(CeilDiv(source.outputs, kScaleBlock) * columns));
  const int first_block = slice.first / kScaleBlock;
  for (int panel = 0; panel < num_panels(); ++panel) {
    for (int block = 0; block < num_blocks(); ++block) {
      int scale_row = first_block + block, scale_column = panel * kPanelOutputs / kScaleBlock;
      if (slice.orientation == Orientation::kAsStored) {
        scale_row = (slice.first + FirstOutput(panel)) / kScaleBlock;
        scale_column = block;
      }
      scales_[static_cast<size_t>(panel * num_blocks() + block)] =
          source.scales[static_cast<size_t>(scale_row * columns + scale_column)] * kE4M3Unit;
    }
  }
}

absl::StatusOr<KeyValueUp> KeyValueUp::Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                            const AttentionShape& shape) {
  const int head_rows = shape.nope_width + shape.value_width;
  CHECK_EQ(source.outputs, shape.num_heads * head_rows);
  CHECK_EQ(source.inputs, shape.latent_width);
  KeyValueUp packed(source.outputs, source.inputs);
  MatrixSource borrowed = source;  // a head at a time, since its slices are cut across each other
  borrowed.lender = nullptr;
  for (int head = 0; head < shape.num_heads; ++head) {
    const BorrowedRows rows(source, head * head_rows, head_rows);
    const RowSlice key{head * head_rows, shape.nope_width, Orientation::kTransposed};
    const RowSlice value{key.first + key.count, shape.value_width, Orientation::kAsStored};
    for (const auto& [slice, matrices] : {std::pair{key, &packed.key_}, std::pair{value, &packed.value_}}) {
      absl::StatusOr<PackedMatrix> matrix = PackedMatrix::Pack(device, pool, borrowed, slice);
      if (!matrix.ok()) return matrix.status();
      matrices->push_back(*std::move(matrix));
    }
  }
  return packed;
}

}  // namespace latentd::cpu
