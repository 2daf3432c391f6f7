#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/packed_bytes.h"
#include "kernels/rounding.h"
#include "kernels/row_lender.h"

namespace latentd::cpu {
namespace {

int Outputs(const MatrixSource& source, RowSlice slice) {
  return slice.orientation == Orientation::kAsStored ? slice.count : source.inputs;
}
int Inputs(const MatrixSource& source, RowSlice slice) {
  return slice.orientation == Orientation::kAsStored ? source.inputs : slice.count;
}

}  // namespace

PackedMatrix::PackedMatrix(const MatrixSource& source, RowSlice slice)
    : Matrix(Outputs(source, slice), Inputs(source, slice)), dtype_(source.dtype), keeps_inputs_(source.keeps_inputs) {
  if (!is_scaled()) return;
  if (slice.orientation == Orientation::kAsStored) {
    first_lane_ = slice.first % kPanelOutputs;
  } else {
    first_k_ = slice.first % kScaleBlock;
  }
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(Device& device, ThreadPool& pool, const MatrixSource& source,
                                                RowSlice slice) {
  absl::StatusOr<PackedMatrix> packed = Reserve(device, source, slice);
  if (!packed.ok()) return packed;
  const Unfilled unfilled[] = {{.matrix = &*packed, .source = &source, .slice = slice}};
  Fill(pool, unfilled);
  return packed;
}

absl::StatusOr<PackedMatrix> PackedMatrix::Reserve(Device& device, const MatrixSource& source, RowSlice slice) {
  CHECK(source.dtype != DType::kE8M0);
  CHECK_GE(slice.first, 0);
  CHECK_LE(slice.first + slice.count, source.outputs);
  const bool as_stored = slice.orientation == Orientation::kAsStored;
  CHECK(as_stored || source.lender == nullptr || IsPacked(source));  // panels of a transposed slice share rows
  // A group's scale is no common factor of what a transposed slice sums.
  CHECK(source.dtype != DType::kInt4 || (as_stored && slice.count == source.outputs));
  PackedMatrix packed(source, slice);
  absl::StatusOr<DeviceBuffer> codes =
      MemoryOf(source, device, static_cast<size_t>(packed.num_panels()) * packed.panel_bytes());
  if (!codes.ok()) return codes.status();
  packed.codes_ = *std::move(codes);
  packed.PackScales(source, slice);
  return packed;
}

void PackedMatrix::Fill(ThreadPool& pool, std::span<const Unfilled> matrices) {
  std::vector<int> first_items;  // of each matrix
  int num_items = 0;
  for (const Unfilled& unfilled : matrices) {
    first_items.push_back(num_items);
    if (!IsPacked(*unfilled.source)) num_items += unfilled.matrix->num_panels();
  }
  pool.ForEach(num_items, [&](int item, int) {
    const auto behind = std::upper_bound(first_items.begin(), first_items.end(), item);
    const Unfilled& unfilled = matrices[static_cast<size_t>(behind - first_items.begin() - 1)];
    unfilled.matrix->PackPanel(*unfilled.source, unfilled.slice, item - *(behind - 1));
  });
}

void PackedMatrix::PackPanel(const MatrixSource& source, RowSlice slice, int panel) {
  if (dtype_ == DType::kInt4) return PackInt4Panel(source, panel);
  const bool as_stored = slice.orientation == Orientation::kAsStored;
  const int first_output = FirstOutput(panel);
  const BorrowedRows rows(source, slice.first + first_output, EndLane(panel) - FirstLane(panel));
  const size_t row = static_cast<size_t>(source.inputs), code_bytes = SizeOf(dtype_);
  const size_t output_step = as_stored ? row : 1, input_step = as_stored ? 1 : row;
  const size_t first = static_cast<size_t>(slice.first) * row + static_cast<size_t>(first_output) * output_step;
  std::byte* const to = codes_.As<std::byte>() + static_cast<size_t>(panel) * panel_bytes();
  for (int block = 0; block < num_blocks(); ++block) {
    const size_t before = static_cast<size_t>(BlockBegin(block)) * input_step;
    PackLines(dtype_,
              {.from = source.bytes + (first + before) * code_bytes,
               .output_step = output_step,
               .input_step = input_step,
               .first_lane = FirstLane(panel),
               .end_lane = EndLane(panel),
               .num_inputs = BlockBegin(block + 1) - BlockBegin(block)},
              to + LinesBefore(PackedBegin(block)));
  }
}

void PackedMatrix::PackInt4Panel(const MatrixSource& source, int panel) {
  const int first = FirstOutput(panel), count = EndLane(panel);
  const BorrowedRows rows(source, first, count);
  const size_t row_bytes = RowBytes(DType::kInt4, inputs);
  const auto row_scales = static_cast<size_t>(CeilDiv(inputs, kInt4Group));
  const std::byte* codes = source.bytes + static_cast<size_t>(first) * row_bytes;
  const std::byte* scales = source.group_scales + static_cast<size_t>(first) * row_scales * sizeof(uint16_t);
  std::byte* to = codes_.As<std::byte>() + static_cast<size_t>(panel) * panel_bytes();
  for (int begin = 0; begin < inputs; begin += kScaleBlock) {
    const int num_inputs = std::min(kScaleBlock, inputs - begin), num_groups = CeilDiv(num_inputs, kInt4Group);
    PackLines(dtype_,
              {.from = codes + begin / 2,
               .output_step = 2 * row_bytes,
               .input_step = 1,
               .first_lane = 0,
               .end_lane = count,
               .num_inputs = num_inputs},
              to);
    to += LinesBytes(dtype_, num_inputs);
    auto* const lanes = reinterpret_cast<uint16_t*>(to);
    to += GroupScalesBytes(num_groups * kInt4Group);
    std::fill_n(lanes, num_groups * kPanelOutputs, uint16_t{0});
    for (int lane = 0; lane < count; ++lane) {
      const std::byte* const from =
          scales +
          (static_cast<size_t>(lane) * row_scales + static_cast<size_t>(begin / kInt4Group)) * sizeof(uint16_t);
      for (int group = 0; group < num_groups; ++group) {
        std::memcpy(lanes + group * kPanelOutputs + lane, from + static_cast<size_t>(group) * sizeof(uint16_t),
                    sizeof(uint16_t));
      }
    }
  }
}

int PackedMatrix::PackedBegin(int block) const {
  if (block == 0) return 0;
  // Only the first block and the last may be other than whole groups.
  const int first = RoundUp(BlockBegin(1), kGroupInputs);
  return block == 1 ? first : first + RoundUp(BlockBegin(block) - BlockBegin(1), kGroupInputs);
}

void PackedMatrix::PackScales(const MatrixSource& source, RowSlice slice) {
  scales_.assign(static_cast<size_t>(num_panels()) * static_cast<size_t>(num_blocks()), 1.0f);
  if (!is_scaled()) return;
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
          source.scales[static_cast<size_t>(scale_row * columns + scale_column)];
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
  if (!IsPacked(source)) borrowed.lender = nullptr;
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
