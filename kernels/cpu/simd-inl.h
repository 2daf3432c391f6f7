// Vectors of up to 16 lanes and the elementary functions on them; compiled once per Highway target.
// The bits of everything here are the same for every target and lane count: only IEEE operations and one fused
// multiply-add, no estimates. Where a target has no fused multiply-add, Fma goes through std::fma lane by lane.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_SIMD_INL_H_
#undef LATENTD_KERNELS_CPU_SIMD_INL_H_
#else
#define LATENTD_KERNELS_CPU_SIMD_INL_H_
#endif

#include <cmath>
#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::CappedTag<float, 16>;
using I32 = hn::RebindToSigned<F32>;
using Vec = hn::Vec<F32>;
inline constexpr F32 kF32;
inline constexpr I32 kI32;
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(F32()));  // 16, 8, 4 or 1
inline constexpr int kVirtualLanes = 16;
inline constexpr int kParts = kVirtualLanes / kLanes;  // vectors that make up 16 virtual lanes

// a * b + c, rounded once.
HWY_INLINE Vec Fma(Vec a, Vec b, Vec c) {
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  HWY_ALIGN float x[kLanes], y[kLanes], z[kLanes];
  hn::Store(a, kF32, x);
  hn::Store(b, kF32, y);
  hn::Store(c, kF32, z);
  for (int i = 0; i < kLanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(kF32, z);
#endif
}
// c - a * b, rounded once.
HWY_INLINE Vec NegFma(Vec a, Vec b, Vec c) { return Fma(hn::Neg(a), b, c); }

HWY_INLINE Vec Set(float value) { return hn::Set(kF32, value); }

// exp(x) by range reduction and a polynomial of degree 6, within 3 ulp; 0 below -87 (so -inf is fine), finite above 88.
HWY_INLINE Vec Exp(Vec x) {
  constexpr float kMin = -87.0f, kMax = 88.0f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const auto tiny = hn::Lt(x, Set(kMin));
  const Vec v = hn::Min(hn::Max(x, Set(kMin)), Set(kMax));
  const auto n = hn::NearestInt(hn::Mul(v, Set(1.44269504f)));
  const Vec whole = hn::ConvertTo(kF32, n);
  Vec r = NegFma(whole, Set(kLn2High), v);
  r = NegFma(whole, Set(kLn2Low), r);
  Vec p = Set(1.3888889e-3f);
  p = Fma(p, r, Set(8.3333338e-3f));
  p = Fma(p, r, Set(4.1666668e-2f));
  p = Fma(p, r, Set(1.6666667e-1f));
  p = Fma(p, r, Set(0.5f));
  p = Fma(p, r, Set(1.0f));
  p = Fma(p, r, Set(1.0f));
  const Vec power = hn::BitCast(kF32, hn::ShiftLeft<23>(hn::Add(n, hn::Set(kI32, 127))));
  return hn::IfThenZeroElse(tiny, hn::Mul(p, power));
}

// 1 / (1 + exp(-x)).
HWY_INLINE Vec Sigmoid(Vec x) { return hn::Div(Set(1.0f), hn::Add(Set(1.0f), Exp(hn::Neg(x)))); }

// silu(gate) * up.
HWY_INLINE Vec SiluTimes(Vec gate, Vec up) {
  return hn::Mul(hn::Div(gate, hn::Add(Set(1.0f), Exp(hn::Neg(gate)))), up);
}

// The fixed tree over 16 virtual lanes: l + (l + 8), then + 4, + 2, + 1.
HWY_INLINE float TreeSum(const float* lanes /* [16] */) {
  float t[8];
  for (int l = 0; l < 8; ++l) t[l] = lanes[l] + lanes[l + 8];
  for (int l = 0; l < 4; ++l) t[l] = t[l] + t[l + 4];
  for (int l = 0; l < 2; ++l) t[l] = t[l] + t[l + 2];
  return t[0] + t[1];
}

// Sixteen running sums of one dot product: element i goes to lane i % 16.
struct VirtualLanes {
  Vec part[kParts];

  HWY_INLINE void Clear() {
    for (Vec& p : part) p = hn::Zero(kF32);
  }
  HWY_INLINE float Sum() const {
    HWY_ALIGN float lanes[kVirtualLanes];
    for (int p = 0; p < kParts; ++p) hn::Store(part[p], kF32, lanes + p * kLanes);
    return TreeSum(lanes);
  }
};

// row *= factor; width is a multiple of kLanes.
HWY_INLINE void MultiplyRow(float factor, float* row, int width) {
  if (factor == 1.0f) return;
  for (int i = 0; i < width; i += kLanes) hn::StoreU(hn::Mul(hn::LoadU(kF32, row + i), Set(factor)), kF32, row + i);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
