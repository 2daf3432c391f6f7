// One row's FP8 codes, or their values; compiled once per Highway target, the same bits in each.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#undef LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#else
#define LATENTD_KERNELS_CPU_ACTIVATION_CODES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// The scale of up to kCodeGroup values.
HWY_INLINE float ScaleOf(const float* values, int count, ScaleFormat format) {
  Vec peaks = Set(kSmallestPeak);
  for (int i = 0; i < count; i += kLanes) {
    const Vec magnitude = hn::Abs(LoadUpTo(values + i, count - i));
    peaks = hn::IfThenElse(hn::Gt(magnitude, peaks), magnitude, peaks);  // Max treats NaN as it likes
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(peaks, kF32, lanes);
  const float scale = *std::max_element(lanes, lanes + kLanes) / kLargestE4M3;
  return format == ScaleFormat::kF32 ? scale : UpToPowerOfTwo(scale);
}

// The values of codes, NaN too.
HWY_INLINE Vec ValuesOf(hn::Vec<hn::Rebind<uint8_t, F32>> codes) {
  const auto magnitude = hn::And(hn::PromoteTo(kI32, codes), hn::Set(kI32, 0x7F));
  const auto is_nan = hn::RebindMask(kF32, hn::Eq(magnitude, hn::Set(kI32, 0x7F)));
  const Vec values = ValuesOfCodes(codes);
  return hn::IfThenElse(is_nan, hn::CopySign(hn::BitCast(kF32, hn::Set(kI32, 0x7FC00000)), values), values);
}

// Codes and scales of a row from its values; nothing where the activation has no room for codes.
HWY_INLINE void FillCodes(const Activation& activation, int row) {
  if (activation.codes == nullptr) return;
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

// The values of a row's codes, before scaling.
HWY_INLINE void DecodeCodes(const Activation& activation, int row, float* to) {
  const int width = activation.values.width;
  const uint8_t* codes = activation.codes + static_cast<size_t>(row) * static_cast<size_t>(activation.code_stride());
  for (int i = 0; i < width; i += kLanes) StoreUpTo(ValuesOf(hn::LoadU(kU8, codes + i)), to + i, width - i);
}

// FillCodes, then DecodeCodes, in place.
HWY_INLINE void RoundToCodes(float* values, int width, ScaleFormat format, float* scales) {
  for (int begin = 0; begin < width; begin += kCodeGroup, ++scales) {
    const int count = std::min(width - begin, kCodeGroup);
    float* group = values + begin;
    *scales = ScaleOf(group, count, format);
    const Vec scale = Set(*scales);
    for (int i = 0; i < count; i += kLanes) {
      StoreUpTo(RoundToE4M3(hn::Div(LoadUpTo(group + i, count - i), scale)), group + i, count - i);
    }
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
