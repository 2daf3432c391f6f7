// The sums of both arithmetics, one vector at a time; compiled once per Highway target. Those of a16 read and write
// subnormal numbers as zero: where the target multiplies and adds in one instruction, that is for FlushSubnormals to
// switch on; the portable target writes it out.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_SUMS_INL_H_
#undef LATENTD_KERNELS_CPU_SUMS_INL_H_
#else
#define LATENTD_KERNELS_CPU_SUMS_INL_H_
#endif

#include <cmath>

#include "kernels/cpu/product_rows.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

#if HWY_NATIVE_FMA && HWY_ARCH_X86
HWY_INLINE Vec Fma16(Vec a, Vec b, Vec c) { return Fma(a, b, c); }
HWY_INLINE Vec Add16(Vec a, Vec b) { return hn::Add(a, b); }
#else
inline constexpr float kLeastNormal = 0x1p-126f;

inline float Flushed(float value) { return std::fabs(value) < kLeastNormal ? std::copysign(0.0f, value) : value; }

// A result is flushed by what it would be with 24 bits and any exponent: what is rounded up to the least normal number
// only because subnormal ones lie further apart is flushed, too.
inline float FlushedFma(float a, float b, float c) {
  const float x = Flushed(a), y = Flushed(b), z = Flushed(c);
  const float result = std::fma(x, y, z);
  if (std::fabs(result) > kLeastNormal) return result;
  const double exact = static_cast<double>(x) * static_cast<double>(y) + static_cast<double>(z);
  return std::fabs(exact) < 0x1p-126 - 0x1p-151 ? std::copysign(0.0f, result) : Flushed(result);
}

template <class Op>
HWY_INLINE Vec LaneByLane(Vec a, Vec b, Vec c, const Op& op) {
  HWY_ALIGN float x[kLanes], y[kLanes], z[kLanes];
  hn::Store(a, kF32, x);
  hn::Store(b, kF32, y);
  hn::Store(c, kF32, z);
  for (int i = 0; i < kLanes; ++i) z[i] = op(x[i], y[i], z[i]);
  return hn::Load(kF32, z);
}

HWY_INLINE Vec Fma16(Vec a, Vec b, Vec c) { return LaneByLane(a, b, c, FlushedFma); }
// Sums of two normal numbers that are subnormal are exact.
HWY_INLINE Vec Add16(Vec a, Vec b) {
  return LaneByLane(a, b, b, [](float x, float y, float) { return Flushed(Flushed(x) + Flushed(y)); });
}
#endif

template <cpu::Arithmetic kA>
HWY_INLINE Vec MulAdd(Vec a, Vec b, Vec c) {
  if constexpr (kA == cpu::Arithmetic::kA16) return Fma16(a, b, c);
  return Fma(a, b, c);
}

// The sums of a tile: under a16 those of even and of odd k by themselves.
template <cpu::Arithmetic kA, int kRows, int kVecs>
struct Sums {
  static constexpr int kChains = kA == cpu::Arithmetic::kA16 ? 2 : 1;
  Vec chain[kChains][kRows][kVecs];

  HWY_INLINE void Clear() {
    for (auto& rows : chain)
      for (auto& row : rows)
        for (Vec& sum : row) sum = hn::Zero(kF32);
  }
  HWY_INLINE void AddEven(int r, int v, Vec x, Vec w) { chain[0][r][v] = MulAdd<kA>(x, w, chain[0][r][v]); }
  HWY_INLINE void AddOdd(int r, int v, Vec x, Vec w) {
    chain[kChains - 1][r][v] = MulAdd<kA>(x, w, chain[kChains - 1][r][v]);
  }
};

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
