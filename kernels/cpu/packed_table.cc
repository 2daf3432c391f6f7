#include "kernels/cpu/packed_table.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/fp8.h"
#include "kernels/packed_bytes.h"
#include "kernels/rounding.h"
#include "kernels/row_lender.h"

namespace latentd::cpu {
PackedTable::PackedTable(const MatrixSource& source)
    : Matrix(source.outputs, source.inputs),
      dtype_(source.dtype),
      scales_(source.scales.begin(), source.scales.end()) {}

absl::StatusOr<PackedTable> PackedTable::Pack(Device& device, ThreadPool& pool, const MatrixSource& source) {
  CHECK(source.dtype == DType::kF32 || source.dtype == DType::kBf16 || source.dtype == DType::kE4M3);
  constexpr int kStretch = 64;  // rows that a thread copies at a time
  const size_t row_bytes = static_cast<size_t>(source.inputs) * SizeOf(source.dtype);
  PackedTable table(source);
  absl::StatusOr<DeviceBuffer> rows = MemoryOf(source, device, static_cast<size_t>(source.outputs) * row_bytes);
  if (!rows.ok()) return rows.status();
  table.rows_ = *std::move(rows);
  if (IsPacked(source)) return table;
  pool.ForEach(CeilDiv(source.outputs, kStretch), [&](int stretch, int) {
    const int first = stretch * kStretch, count = std::min(kStretch, source.outputs - first);
    const BorrowedRows borrowed(source, first, count);
    const size_t begin = static_cast<size_t>(first) * row_bytes;
    std::memcpy(table.rows_.As<std::byte>() + begin, source.bytes + begin, static_cast<size_t>(count) * row_bytes);
  });
  return table;
}

void PackedTable::DecodeRow(int row, float* out) const {
  const size_t width = static_cast<size_t>(inputs), first = static_cast<size_t>(row) * width;
  switch (dtype_) {
    case DType::kBf16: {
      const uint16_t* codes = rows_.As<uint16_t>() + first;
      for (size_t i = 0; i < width; ++i) out[i] = std::bit_cast<float>(static_cast<uint32_t>(codes[i]) << 16);
      return;
    }
    case DType::kE4M3: {
      const uint8_t* codes = rows_.As<uint8_t>() + first;
      const float* scales = scales_.data() + row / kScaleBlock * CeilDiv(inputs, kScaleBlock);
      for (size_t i = 0; i < width; ++i) out[i] = DecodeE4M3(codes[i]) * scales[i / kScaleBlock];
      return;
    }
    default:
      std::memcpy(out, rows_.As<float>() + first, width * sizeof(float));
  }
}

}  // namespace latentd::cpu
