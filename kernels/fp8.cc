#include "kernels/fp8.h"

#include <bit>
#include <cmath>
#include <limits>

namespace latentd {

float DecodeE4M3(uint8_t code) {
  if (IsNanE4M3(code)) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = (code >> 3) & 15;
  const int fraction = code & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                        : std::ldexp(8.0f + static_cast<float>(fraction), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

uint8_t EncodeE4M3(float value) {
  const int sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return static_cast<uint8_t>(sign | 0x7F);
  const float magnitude = std::fabs(value);
  if (magnitude >= 448.0f) return static_cast<uint8_t>(sign | 0x7E);
  const int exponent = magnitude < 0x1p-6f ? -6 : std::ilogb(magnitude);
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));  // of 2^(exponent - 3)
  // A normal's leading 8 carries into the exponent field.
  return static_cast<uint8_t>(sign | (((exponent + 6) << 3) + steps));
}

float DecodeE8M0(uint8_t code) {
  return code == 0xFF ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, code - 127);
}

float DecodeBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t EncodeBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace latentd
