// Vectors at the ends of rows, where fewer values than lanes are left and the memory behind them belongs to others.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_PARTIAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_PARTIAL_INL_H_
#undef LATENTD_KERNELS_CPU_PARTIAL_INL_H_
#else
#define LATENTD_KERNELS_CPU_PARTIAL_INL_H_
#endif

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// The next kLanes values; `left` of them exist, the others read as zero. left may be zero or negative.
HWY_INLINE Vec LoadUpTo(const float* from, int left) {
  if (left >= kLanes) return hn::LoadU(kF32, from);
  HWY_ALIGN float lanes[kLanes] = {};
  for (int i = 0; i < left; ++i) lanes[i] = from[i];
  return hn::Load(kF32, lanes);
}

HWY_INLINE void StoreUpTo(Vec v, float* to, int left) {
  if (left >= kLanes) return hn::StoreU(v, kF32, to);
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, kF32, lanes);
  for (int i = 0; i < left; ++i) to[i] = lanes[i];
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
