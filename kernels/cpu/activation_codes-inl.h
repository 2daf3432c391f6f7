// One row's FP8 codes, or what they stand for; compiled once per Highway target, the same bits in each.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#undef LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#else
#define LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using U8 = hn::Rebind<uint8_t, F32>;
inline constexpr float kLargestE4M3 = 448.0f;
inline constexpr float kSmallestNormalE4M3 = 0x1p-6f;

// The scale of up to kCodeGroup values.
HWY_INLINE float ScaleOf(const float* values, int count, ScaleFormat format) {
  Vec peaks = Set(1e-4f);
  for (int i = 0; i < count; i += kLanes) {
    const Vec magnitude = hn::Abs(LoadUpTo(values + i, count - i));
    peaks = hn::IfThenElse(hn::Gt(magnitude, peaks), magnitude, peaks);  // Max treats NaN as it likes
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(peaks, kF32, lanes);
  const float scale = *std::max_element(lanes, lanes + kLanes) / kLargestE4M3;
  if (format == ScaleFormat::kF32) return scale;
  // The exponent field, one more unless the scale is a power of two already; infinity stays.
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
  const auto subnormal = hn::ConvertTo(kI32, hn::Mul(magnitude, Set(0x1p9f)));
  const auto is_subnormal = hn::RebindMask(kI32, hn::Lt(magnitude, Set(kSmallestNormalE4M3)));
  const auto is_nan = hn::RebindMask(kI32, hn::IsNaN(value));
  const auto code = hn::IfThenElse(is_nan, hn::Set(kI32, 0x7F), hn::IfThenElse(is_subnormal, subnormal, normal));
  return hn::Or(code, hn::And(hn::ShiftRight<24>(hn::BitCast(kI32, value)), hn::Set(kI32, 0x80)));
}

// The E4M3 values of codes.
HWY_INLINE Vec ValuesOf(hn::Vec<I32> codes) {
  constexpr hn::Rebind<int16_t, F32> kI16;
  constexpr hn::Rebind<hwy::float16_t, F32> kF16;
  const auto magnitude = hn::And(codes, hn::Set(kI32, 0x7F));
  // As halves they read as value · 2^-8, subnormals too.
  const Vec halves = hn::PromoteTo(kF32, hn::BitCast(kF16, hn::DemoteTo(kI16, hn::ShiftLeft<7>(magnitude))));
  const auto is_nan = hn::RebindMask(kF32, hn::Eq(magnitude, hn::Set(kI32, 0x7F)));
  const Vec value = hn::IfThenElse(is_nan, hn::BitCast(kF32, hn::Set(kI32, 0x7FC00000)), hn::Mul(halves, Set(256.0f)));
  return hn::Or(value, hn::BitCast(kF32, hn::ShiftLeft<24>(hn::And(codes, hn::Set(kI32, 0x80)))));
}

// Codes and scales of a row from its values; nothing where the activation has no room for codes.
HWY_INLINE void FillCodes(const Activation& activation, int row) {
  if (activation.codes == nullptr) return;
  constexpr U8 kU8;
  const float* values = activation.values.Row(row);
  uint8_t* codes = activation.codes + static_cast<size_t>(row) * static_cast<size_t>(activation.code_stride());
  float* scales = activation.scales + static_cast<size_t>(row) * static_cast<size_t>(activation.num_groups());
  for (int begin = 0; begin < activation.values.width; begin += kCodeGroup, ++scales) {
    const int left = activation.values.width - begin;
    *scales = ScaleOf(values + begin, std::min(left, kCodeGroup), activation.scale_format);
    const Vec scale = Set(*scales);
    for (int i = 0; i < kCodeGroup; i += kLanes) {
      const Vec value = hn::Div(LoadUpTo(values + begin + i, left - i), scale);
      hn::StoreU(hn::DemoteTo(kU8, CodesOf(RoundToE4M3(value))), kU8, codes + begin + i);
    }
  }
}

// What a row's codes stand for.
HWY_INLINE void DecodeCodes(const Activation& activation, int row, float* to) {
  constexpr U8 kU8;
  const int width = activation.values.width;
  const uint8_t* codes = activation.codes + static_cast<size_t>(row) * static_cast<size_t>(activation.code_stride());
  const float* scales = activation.scales + static_cast<size_t>(row) * static_cast<size_t>(activation.num_groups());
  for (int i = 0; i < width; i += kLanes) {
    const Vec values = ValuesOf(hn::PromoteTo(kI32, hn::LoadU(kU8, codes + i)));
    StoreUpTo(hn::Mul(values, Set(scales[i / kCodeGroup])), to + i, width - i);
  }
}

// Replaces values by what their codes would stand for: FillCodes, then DecodeCodes.
HWY_INLINE void RoundToCodes(float* values, int width, ScaleFormat format) {
  for (int begin = 0; begin < width; begin += kCodeGroup) {
    const int count = std::min(width - begin, kCodeGroup);
    float* group = values + begin;
    const Vec scale = Set(ScaleOf(group, count, format));
    for (int i = 0; i < count; i += kLanes) {
      const Vec rounded = RoundToE4M3(hn::Div(LoadUpTo(group + i, count - i), scale));
      StoreUpTo(hn::Mul(rounded, scale), group + i, count - i);
    }
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
