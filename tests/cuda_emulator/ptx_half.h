// PTX's half-precision numbers for translated kernels: f16, bf16, e4m3 and e5m2, alone and in pairs. They are kept as
// bits. Stateless.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/cuda_emulator/ptx_convert.h"

namespace cuda_emulator::ptx {

inline float BfloatToFloat(uint16_t a) { return std::bit_cast<float>(static_cast<uint32_t>(a) << 16); }

// The exponent is moved by multiplying, which is exact for subnormals too.
inline float HalfToFloat(uint16_t a) {
  const uint32_t sign = (a & 0x8000u) << 16, magnitude = (a & 0x7fffu) << 13;
  if (magnitude >= 0x7c00u << 13) return std::bit_cast<float>(sign | 0x7f800000u | magnitude);
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}

template <Rounding kRounding = Rounding::kNearest>
uint16_t FloatToHalf(float a) {
  return static_cast<uint16_t>(Encode<kHalfFormat, kRounding>(a));
}
template <Rounding kRounding = Rounding::kNearest>
uint16_t DoubleToHalf(double a) {
  return static_cast<uint16_t>(Encode<kHalfFormat, kRounding>(a));
}
// The upper half of a float: rounding carries through its exponent.
template <Rounding kRounding = Rounding::kNearest>
uint16_t FloatToBfloat(float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  if (std::isnan(a)) return 0x7fff;
  if (kRounding != Rounding::kNearest) return static_cast<uint16_t>(Encode<kBfloatFormat, kRounding>(a));
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

// Integers of 64 bits aren't exact in double: what is lost below bit 40 only matters as "not zero".
template <typename T>
double StickyDouble(T a) {
  const bool is_negative = a < 0;
  uint64_t magnitude = is_negative ? 0 - static_cast<uint64_t>(a) : static_cast<uint64_t>(a);
  if (magnitude >> 52 != 0) magnitude = (magnitude >> 12 | ((magnitude & 0xfff) != 0 ? 1 : 0)) << 12;
  const double wide = static_cast<double>(magnitude);
  return is_negative ? -wide : wide;
}
template <typename T>
uint16_t IntegerToHalf(T a) {
  return DoubleToHalf(StickyDouble(a));
}
template <typename T>
uint16_t IntegerToBfloat(T a) {
  return static_cast<uint16_t>(Encode<kBfloatFormat, Rounding::kNearest>(StickyDouble(a)));
}

// Saturating, NaN to 0x7f.
inline uint8_t FloatToE4m3(float a) { return static_cast<uint8_t>(Encode<kE4m3Format, Rounding::kNearest>(a)); }
inline uint8_t FloatToE5m2(float a) {
  const float largest = 57344.0f;
  if (std::isnan(a)) return 0x7f;
  return static_cast<uint8_t>(Encode<kE5m2Format, Rounding::kNearest>(std::fmin(std::fmax(a, -largest), largest)));
}
inline uint8_t FloatToE4m3Relu(float a) { return FloatToE4m3(Relu(a)); }
inline uint8_t FloatToE5m2Relu(float a) { return FloatToE5m2(Relu(a)); }
inline uint8_t FloatToE4m3(uint16_t a) { return FloatToE4m3(HalfToFloat(a)); }
inline uint8_t FloatToE5m2(uint16_t a) { return FloatToE5m2(HalfToFloat(a)); }
inline uint8_t FloatToE4m3Relu(uint16_t a) { return FloatToE4m3Relu(HalfToFloat(a)); }
inline uint8_t FloatToE5m2Relu(uint16_t a) { return FloatToE5m2Relu(HalfToFloat(a)); }

// e5m2 is the upper byte of an f16; e4m3 is exact in f16 and read from a table.
inline uint16_t E5m2ToHalf(uint8_t a) { return (a & 0x7f) > 0x7c ? uint16_t{0x7fff} : static_cast<uint16_t>(a << 8); }
inline uint16_t E4m3ToHalf(uint8_t a) {
  static const std::array<uint16_t, 256> kTable = [] {
    std::array<uint16_t, 256> table{};
    for (uint32_t code = 0; code < 256; ++code) {
      const uint32_t exponent = code >> 3 & 15, mantissa = code & 7;
      const double magnitude =
          exponent == 0 ? mantissa * 0x1p-9 : std::ldexp(8.0 + mantissa, static_cast<int>(exponent) - 10);
      table[code] = (code & 127) == 127 ? uint16_t{0x7fff} : DoubleToHalf((code & 128) != 0 ? -magnitude : magnitude);
    }
    return table;
  }();
  return kTable[a];
}
inline uint16_t ReluOfHalf(uint16_t a) {
  const bool is_nan = (a & 0x7fffu) > 0x7c00u;
  return (a & 0x8000u) != 0 && !is_nan ? uint16_t{0} : a;
}
inline uint16_t E4m3ToHalfRelu(uint8_t a) { return ReluOfHalf(E4m3ToHalf(a)); }
inline uint16_t E5m2ToHalfRelu(uint8_t a) { return ReluOfHalf(E5m2ToHalf(a)); }

inline uint32_t Pair(uint16_t high, uint16_t low) { return static_cast<uint32_t>(high) << 16 | low; }
inline uint16_t PairOfBytes(uint8_t high, uint8_t low) { return static_cast<uint16_t>(high << 8 | low); }
inline uint16_t HighHalf(uint32_t a) { return static_cast<uint16_t>(a >> 16); }
inline uint16_t LowHalf(uint32_t a) { return static_cast<uint16_t>(a); }
inline uint8_t HighByte(uint16_t a) { return static_cast<uint8_t>(a >> 8); }
inline uint8_t LowByte(uint16_t a) { return static_cast<uint8_t>(a); }

}  // namespace cuda_emulator::ptx
