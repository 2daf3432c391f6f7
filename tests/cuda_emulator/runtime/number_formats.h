// The tensor cores' input formats as floats; all conversions are exact.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace cuda_emulator {

inline float FloatFromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Sign, 5 exponent bits of bias 15, 10 of mantissa.
inline float FloatFromF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7FFFu;
  constexpr uint32_t kInfinity = 0x7C00;
  if (magnitude >= kInfinity) return std::bit_cast<float>(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
  // As if the exponent had float's bias, and then scaled by 2^(127-15): right for subnormals too.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

// Sign, 4 exponent bits of bias 7, 3 of mantissa; all ones is NaN and there is no infinity.
constexpr float WidenE4m3(uint8_t bits) {
  const uint32_t sign = uint32_t{bits & 0x80u} << 24;
  const uint32_t magnitude = bits & 0x7Fu;
  if (magnitude == 0x7F) return std::bit_cast<float>(sign | 0x7FC00000u);
  const float scaled = std::bit_cast<float>(magnitude << 20) * 0x1p120f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

inline constexpr std::array<float, 256> kE4m3Floats = [] {
  std::array<float, 256> floats = {};
  for (uint32_t i = 0; i < floats.size(); ++i) floats[i] = WidenE4m3(static_cast<uint8_t>(i));
  return floats;
}();

inline float FloatFromE4m3(uint8_t bits) { return kE4m3Floats[bits]; }

}  // namespace cuda_emulator
