#include "tools/convert/value_rows.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/fp8.h"
#include "kernels/stored_value.h"

namespace latentd {
namespace {

constexpr size_t kScaleBlock = 128;

template <class T>
T Load(const std::byte* bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

const std::array<float, 256>& DecodedE4M3() {
  static const std::array<float, 256> decoded = [] {
    std::array<float, 256> values;
    for (size_t code = 0; code < values.size(); ++code) values[code] = DecodeE4M3(static_cast<uint8_t>(code));
    return values;
  }();
  return decoded;
}

void ReadScaledRow(const MatrixSource& matrix, int64_t row, std::span<float> values) {
  const std::array<float, 256>& decoded = DecodedE4M3();
  const size_t blocks_per_row = (values.size() + kScaleBlock - 1) / kScaleBlock;
  const auto scales = matrix.scales.subspan(static_cast<size_t>(row) / kScaleBlock * blocks_per_row, blocks_per_row);
  const std::byte* codes = matrix.bytes + row * matrix.inputs;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = decoded[static_cast<uint8_t>(codes[i])] * scales[i / kScaleBlock];
  }
}

void ReadGroupedRow(const MatrixSource& matrix, int64_t row, std::span<float> values) {
  const size_t groups_per_row = (values.size() + kInt4Group - 1) / kInt4Group;
  const std::byte* scales = matrix.group_scales + static_cast<size_t>(row) * groups_per_row * SizeOf(DType::kBf16);
  const std::byte* codes = matrix.bytes + static_cast<size_t>(row) * RowBytes(DType::kInt4, matrix.inputs);
  for (size_t i = 0; i < values.size(); ++i) {
    const float scale = DecodeBf16(Load<uint16_t>(scales, static_cast<int64_t>(i / kInt4Group)));
    values[i] = static_cast<float>(CodeInt4(codes, static_cast<int>(i))) * scale;
  }
}

void ReadRow(const MatrixSource& matrix, int64_t row, std::span<float> values) {
  const int64_t first = row * matrix.inputs;
  switch (matrix.dtype) {
    case DType::kF32:
      std::memcpy(values.data(), matrix.bytes + first * 4, values.size_bytes());
      return;
    case DType::kBf16:
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = DecodeBf16(Load<uint16_t>(matrix.bytes, first + static_cast<int64_t>(i)));
      }
      return;
    case DType::kE4M3:
      ReadScaledRow(matrix, row, values);
      return;
    case DType::kInt4:
      ReadGroupedRow(matrix, row, values);
      return;
    case DType::kE8M0:
      CHECK(false);  // a format of scales, never of weights
  }
}

}  // namespace

ValueRows RowsOf(const MatrixSource& matrix) {
  return {.shape = {matrix.outputs, matrix.inputs}, .read = [matrix](int64_t first_row, std::span<float> values) {
            const auto width = static_cast<size_t>(matrix.inputs);
            for (size_t at = 0; at < values.size(); at += width) {
              ReadRow(matrix, first_row + static_cast<int64_t>(at / width), values.subspan(at, width));
            }
          }};
}

}  // namespace latentd
