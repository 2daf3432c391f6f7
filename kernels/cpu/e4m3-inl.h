// E4M3 codes and the values that they stand for, a vector at a time; compiled once per Highway target. Codes are
// rounded and read as integers, so that the bits are the same for every target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_E4M3_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_E4M3_INL_H_
#undef LATENTD_KERNELS_CPU_E4M3_INL_H_
#else
#define LATENTD_KERNELS_CPU_E4M3_INL_H_
#endif

#include <bit>
#include <cstdint>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

inline constexpr hn::Rebind<uint8_t, F32> kU8;
inline constexpr hn::Rebind<int16_t, F32> kI16;
inline constexpr float kLargestE4M3 = 448.0f;
inline constexpr float kSmallestNormalE4M3 = 0x1p-6f;
// A group's scale is never that of a smaller magnitude (docs/spec/deepseek.md 4.3).
inline constexpr float kSmallestPeak = 1e-4f;

// The least power of two that is not below a positive scale; infinity stays.
HWY_INLINE float UpToPowerOfTwo(float scale) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(scale) + 0x7FFFFF) & 0xFF800000u);
}

// The nearest E4M3 value, ties to even, saturating; NaN stays NaN.
HWY_INLINE Vec RoundToE4M3(Vec value) {
  const Vec magnitude = hn::Min(hn::Abs(value), Set(kLargestE4M3));
  const auto bits = hn::BitCast(kI32, magnitude);
  const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(kI32, 1));
  const auto sum = hn::Add(hn::Add(bits, hn::Set(kI32, 0x7FFFF)), odd);
  const Vec normal = hn::BitCast(kF32, hn::And(sum, hn::Set(kI32, ~0xFFFFF)));
  const Vec shift = Set(0x1p14f);  // floats there lie 2^-9 apart, as subnormal codes do
  const Vec subnormal = hn::Sub(hn::Add(magnitude, shift), shift);
  const Vec rounded = hn::IfThenElse(hn::Lt(magnitude, Set(kSmallestNormalE4M3)), subnormal, normal);
  return hn::IfThenElse(hn::IsNaN(value), value, hn::CopySign(rounded, value));
}

// The codes of E4M3 values.
HWY_INLINE hn::Vec<I32> CodesOf(Vec value) {
  const Vec magnitude = hn::Abs(value);
  const auto normal = hn::Sub(hn::ShiftRight<20>(hn::BitCast(kI32, magnitude)), hn::Set(kI32, (127 - 7) << 3));
  const auto is_small = hn::Lt(magnitude, Set(kSmallestNormalE4M3));
  const auto subnormal = hn::ConvertTo(kI32, hn::Mul(hn::IfThenElseZero(is_small, magnitude), Set(0x1p9f)));
  const auto is_subnormal = hn::RebindMask(kI32, is_small);
  const auto is_nan = hn::RebindMask(kI32, hn::IsNaN(value));
  const auto code = hn::IfThenElse(is_nan, hn::Set(kI32, 0x7F), hn::IfThenElse(is_subnormal, subnormal, normal));
  return hn::Or(code, hn::And(hn::ShiftRight<24>(hn::BitCast(kI32, value)), hn::Set(kI32, 0x80)));
}

// 2^-8 times the values of codes that are not NaN and stand in the high bytes of words: so an exponent and a fraction
// read as those of a half. The low bytes are ignored.
HWY_INLINE Vec HalvesOfCodes(hn::Vec<hn::Rebind<int16_t, F32>> words) {
  const auto half = hn::And(hn::ShiftRight<1>(words), hn::Set(kI16, static_cast<int16_t>(0xBF80)));
  return hn::PromoteTo(kF32, hn::BitCast(hn::Rebind<hwy::float16_t, F32>(), half));
}

// The values of codes that are not NaN.
HWY_INLINE Vec ValuesOfCodes(hn::Vec<hn::Rebind<uint8_t, F32>> codes) {
  return hn::Mul(HalvesOfCodes(hn::ShiftLeft<8>(hn::PromoteTo(kI16, codes))), Set(256.0f));
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
