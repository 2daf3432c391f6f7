// Lanes exchanged between vectors: the steps of a transposition, and of sums of lanes for several vectors at once.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_TRANSPOSE_INL_H_
#undef LATENTD_KERNELS_CPU_TRANSPOSE_INL_H_
#else
#define LATENTD_KERNELS_CPU_TRANSPOSE_INL_H_
#endif

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
// The upper half of each 2 · kApart lanes of a and the lower half of b's change places.
template <int kApart>
HWY_INLINE void Exchange(Vec& a, Vec& b) {
  const Vec old_a = a;
  if constexpr (kApart == 8) {
    a = hn::ConcatLowerLower(kF32, b, old_a);
    b = hn::ConcatUpperUpper(kF32, b, old_a);
  } else if constexpr (kApart == 4) {
    a = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), old_a);
    b = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(old_a));
  } else if constexpr (kApart == 2) {
    constexpr hn::RepartitionToWide<F32> kF64;
    const auto wide_a = hn::BitCast(kF64, old_a), wide_b = hn::BitCast(kF64, b);
    a = hn::BitCast(kF32, hn::OddEven(hn::Shuffle01(wide_b), wide_a));
    b = hn::BitCast(kF32, hn::OddEven(wide_b, hn::Shuffle01(wide_a)));
  } else {
    a = hn::OddEven(hn::Shuffle2301(b), old_a);
    b = hn::OddEven(b, hn::Shuffle2301(old_a));
  }
}
#endif

// Lane j of rows[i] and lane i of rows[j] change places.
template <int kApart = kLanes / 2>
HWY_INLINE void Transpose(Vec (&rows)[kLanes]) {
  if constexpr (kApart >= 1) {
    for (int i = 0; i < kLanes; ++i) {
      if ((i & kApart) == 0) Exchange<kApart>(rows[i], rows[i + kApart]);
    }
    Transpose<kApart / 2>(rows);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
