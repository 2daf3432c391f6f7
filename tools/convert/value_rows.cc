#include "tools/convert/value_rows.h"

#include <cstring>

#include "kernels/check.h"
#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr int kScaleBlock = 128;

template <class T>
T Load(const std::byte* bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float ValueAt(const MatrixSource& matrix, int64_t row, int64_t column) {
  const int64_t index = row * matrix.inputs + column;
  switch (matrix.dtype) {
    case DType::kF32:
      return Load<float>(matrix.bytes, index);
    case DType::kBf16:
      return DecodeBf16(Load<uint16_t>(matrix.bytes, index));
    case DType::kE4M3: {
      const int64_t blocks_per_row = (matrix.inputs + kScaleBlock - 1) / kScaleBlock;
      const int64_t block = row / kScaleBlock * blocks_per_row + column / kScaleBlock;
      return DecodeE4M3(Load<uint8_t>(matrix.bytes, index)) * matrix.scales[static_cast<size_t>(block)];
    }
    case DType::kE8M0:
      break;
  }
  CHECK(false);  // a format of scales, never of weights
  return 0.0f;
}

}  // namespace

ValueRows RowsOf(const MatrixSource& matrix) {
  return {.shape = {matrix.outputs, matrix.inputs}, .read = [matrix](int64_t first_row, std::span<float> values) {
            const auto width = static_cast<size_t>(matrix.inputs);
            for (size_t i = 0; i < values.size(); ++i) {
              values[i] = ValueAt(matrix, first_row + static_cast<int64_t>(i / width), static_cast<int64_t>(i % width));
            }
          }};
}

}  // namespace latentd
