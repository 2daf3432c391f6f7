// PTX's cvt between integers, f32 and f64, and the rounding to narrow formats that the half-precision types share.
// Stateless.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tests/cuda_emulator/ptx_float.h"

namespace cuda_emulator::ptx {

// A float format of up to 16 bits. One without infinity has one NaN per sign, all ones.
struct Format {
  int exponent_bits, mantissa_bits;
  bool has_infinity;
};
inline constexpr Format kHalfFormat{5, 10, true}, kBfloatFormat{8, 7, true}, kE4m3Format{4, 3, false},
    kE5m2Format{5, 2, true};

template <Format kFormat>
inline constexpr uint32_t kMagnitudeMask = (1u << (kFormat.exponent_bits + kFormat.mantissa_bits)) - 1;
template <Format kFormat>
inline constexpr uint32_t kLargestFinite = kFormat.has_infinity
                                               ? kMagnitudeMask<kFormat> - (1u << kFormat.mantissa_bits)
                                               : kMagnitudeMask<kFormat> - 1;

// Whether the magnitude goes up by one unit, given what is cut off in relation to half a unit.
template <Rounding kRounding>
bool RoundsAway(bool is_negative, bool is_odd, uint64_t rest, uint64_t half) {
  if (kRounding == Rounding::kNearest) return rest > half || (rest == half && is_odd);
  if (kRounding == Rounding::kUp) return rest != 0 && !is_negative;
  if (kRounding == Rounding::kDown) return rest != 0 && is_negative;
  return false;
}

// The code of a number in the format; NaN gives the canonical one. Overflow gives infinity, or the largest finite
// number where there is none or the rounding is towards it.
template <Format kFormat, Rounding kRounding>
uint32_t Encode(double a) {
  const uint64_t bits = std::bit_cast<uint64_t>(a);
  const bool is_negative = bits >> 63 != 0;
  const uint32_t sign = is_negative ? kMagnitudeMask<kFormat> + 1 : 0;
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023;
  if (exponent == 1024 && (bits << 12) != 0) return kMagnitudeMask<kFormat>;
  if (exponent == 1024) return sign | (kLargestFinite<kFormat> + (kFormat.has_infinity ? 1 : 0));
  if (a == 0) return sign;
  constexpr int kBias = (1 << (kFormat.exponent_bits - 1)) - 1;
  const uint64_t mantissa = (bits & ((1ull << 52) - 1)) | 1ull << 52;
  const int below_normal = std::max(0, 1 - kBias - exponent);
  const int shift = std::min(52 - kFormat.mantissa_bits + below_normal, 54);  // 54: all of it is less than half a unit
  const uint64_t kept = mantissa >> shift, rest = mantissa & ((1ull << shift) - 1);
  uint64_t code =
      below_normal > 0 ? kept : kept + (static_cast<uint64_t>(exponent + kBias - 1) << kFormat.mantissa_bits);
  if (RoundsAway<kRounding>(is_negative, (kept & 1) != 0, rest, 1ull << (shift - 1))) ++code;
  if (code > kLargestFinite<kFormat>) {
    const bool stays_finite = !kFormat.has_infinity || kRounding == Rounding::kZero ||
                              (kRounding == Rounding::kUp && is_negative) ||
                              (kRounding == Rounding::kDown && !is_negative);
    code = kLargestFinite<kFormat> + (stays_finite ? 0 : 1);
  }
  return sign | static_cast<uint32_t>(code);
}

template <Rounding kRounding, std::floating_point T>
T RoundToIntegral(T a) {
  if (kRounding == Rounding::kZero) return std::trunc(a);
  if (kRounding == Rounding::kDown) return std::floor(a);
  if (kRounding == Rounding::kUp) return std::ceil(a);
  return std::nearbyint(a);
}

// Clamps. A NaN is zero, but the sign bit alone where f64 or a 64-bit integer takes part.
template <std::integral To, Rounding kRounding, std::floating_point From>
To ToInteger(From a) {
  if (std::isnan(a)) {
    const bool is_long = sizeof(From) == 8 || sizeof(To) == 8;
    return is_long ? static_cast<To>(std::make_unsigned_t<To>{1} << (sizeof(To) * 8 - 1)) : To{0};
  }
  const From integral = RoundToIntegral<kRounding>(a);
  const From end = std::ldexp(From{1}, std::numeric_limits<To>::digits);  // one past the largest
  if (integral >= end) return std::numeric_limits<To>::max();
  if (std::is_signed_v<To> ? integral < -end : integral < 0) return std::numeric_limits<To>::min();
  return static_cast<To>(integral);
}

// Nearest by the host; the directed roundings compare back in wide integers.
template <std::floating_point To, Rounding kRounding, std::integral From>
To FromInteger(From a) {
  const To nearest = static_cast<To>(a);
  if (kRounding == Rounding::kNearest) return nearest;
  __extension__ using Wide = __int128;
  const Wide gap = static_cast<Wide>(a) - static_cast<Wide>(nearest);
  const bool is_negative = a < 0;
  if (gap == 0) return nearest;
  constexpr To kInfinity = std::numeric_limits<To>::infinity();
  if (kRounding == Rounding::kUp || (kRounding == Rounding::kZero && is_negative)) {
    return gap > 0 ? std::nextafter(nearest, kInfinity) : nearest;
  }
  return gap < 0 ? std::nextafter(nearest, -kInfinity) : nearest;
}

template <Rounding kRounding>
float DoubleToFloat(double a) {
  const float nearest = static_cast<float>(a);
  if (kRounding == Rounding::kNearest || !std::isfinite(a)) return nearest;
  const double gap = std::isinf(nearest) ? (a > 0 ? -1.0 : 1.0) : a - static_cast<double>(nearest);
  return Directed<kRounding>(nearest, gap);
}

// 10 mantissa bits, ties away from zero; the low 13 bits of the result are zero.
inline uint32_t FloatToTf32(float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  if (std::isnan(a)) return 0x7fffffffu;
  if (std::isinf(a)) return bits;
  return (bits + 0x1000u) & ~0x1fffu;
}

// .relu: negative numbers are +0, NaN stays.
inline float Relu(float a) { return a <= 0 ? 0.0f : a; }

}  // namespace cuda_emulator::ptx
