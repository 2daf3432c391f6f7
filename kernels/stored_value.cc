#include "kernels/stored_value.h"

#include <bit>
#include <cstring>

#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr int kScaleBlock = 128;  // outputs, and inputs, that share a scale

}  // namespace

float StoredValue(const MatrixSource& source, int output, int input) {
  const size_t index = static_cast<size_t>(output) * static_cast<size_t>(source.inputs) + static_cast<size_t>(input);
  const std::byte* at = source.bytes + index * SizeOf(source.dtype);
  if (source.dtype == DType::kE4M3) {
    const int scale_columns = (source.inputs + kScaleBlock - 1) / kScaleBlock;
    return DecodeE4M3(static_cast<uint8_t>(*at)) *
           source.scales[static_cast<size_t>(output / kScaleBlock * scale_columns + input / kScaleBlock)];
  }
  uint32_t bits = 0;
  std::memcpy(&bits, at, SizeOf(source.dtype));
  return source.dtype == DType::kBf16 ? DecodeBf16(static_cast<uint16_t>(bits)) : std::bit_cast<float>(bits);
}

}  // namespace latentd
