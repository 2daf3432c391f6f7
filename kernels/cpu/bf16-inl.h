// Numbers rounded to bf16; compiled once per Highway target. As integers, so that the bits are the same for every
// target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_BF16_INL_H_
#undef LATENTD_KERNELS_CPU_BF16_INL_H_
#else
#define LATENTD_KERNELS_CPU_BF16_INL_H_
#endif

#include <cstdint>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// The halves, in 32 bits. Nearest even; a NaN stays one.
HWY_INLINE hn::Vec<I32> Bf16Halves(Vec values) {
  const auto set = [](int32_t value) HWY_ATTR { return hn::Set(kI32, value); };
  const auto bits = hn::BitCast(kI32, values), high = hn::ShiftRight<16>(bits);
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::And(high, set(1)), set(0x7FFF))));
  const auto is_nan = hn::Gt(hn::And(bits, set(0x7FFFFFFF)), set(0x7F800000));
  return hn::And(hn::IfThenElse(is_nan, hn::Or(high, set(0x40)), rounded), set(0xFFFF));
}

// The numbers that the halves stand for.
HWY_INLINE Vec RoundToBf16(Vec values) { return hn::BitCast(kF32, hn::ShiftLeft<16>(Bf16Halves(values))); }

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
