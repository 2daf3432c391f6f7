#include "kernels/stored_value.h"

#include <bit>
#include <cstring>

#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr int kScaleBlock = 128;  // outputs, and inputs, that share a scale

float Int4Value(const MatrixSource& source, int output, int input) {
  const auto row = static_cast<size_t>(output);
  const auto groups = static_cast<size_t>((source.inputs + kInt4Group - 1) / kInt4Group);
  const size_t group = row * groups + static_cast<size_t>(input / kInt4Group);
  const float scale = StoredNumber(DType::kBf16, source.group_scales + group * SizeOf(DType::kBf16));
  return static_cast<float>(CodeInt4(source.bytes + row * RowBytes(DType::kInt4, source.inputs), input)) * scale;
}

}  // namespace

float StoredNumber(DType dtype, const std::byte* at) {
  if (dtype == DType::kE4M3) return DecodeE4M3(static_cast<uint8_t>(*at));
  if (dtype == DType::kE8M0) return DecodeE8M0(static_cast<uint8_t>(*at));
  uint32_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype));
  return dtype == DType::kBf16 ? DecodeBf16(static_cast<uint16_t>(bits)) : std::bit_cast<float>(bits);
}

int CodeInt4(const std::byte* row, int input) {
  const auto pair = static_cast<unsigned>(row[input / 2]);  // words are little-endian: bytes follow each other, too
  return static_cast<int>(input % 2 == 0 ? pair & 15 : pair >> 4) - 8;
}

float StoredValue(const MatrixSource& source, int output, int input) {
  if (source.dtype == DType::kInt4) return Int4Value(source, output, input);
  const size_t index = static_cast<size_t>(output) * static_cast<size_t>(source.inputs) + static_cast<size_t>(input);
  const float number = StoredNumber(source.dtype, source.bytes + index * SizeOf(source.dtype));
  if (source.dtype != DType::kE4M3) return number;
  const int scale_columns = (source.inputs + kScaleBlock - 1) / kScaleBlock;
  return number * source.scales[static_cast<size_t>(output / kScaleBlock * scale_columns + input / kScaleBlock)];
}

}  // namespace latentd
