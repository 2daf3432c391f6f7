// One step of a tile: the k that a codec decodes together; compiled once per Highway target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_MULTIPLY_STEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_MULTIPLY_STEP_INL_H_
#undef LATENTD_KERNELS_CPU_MULTIPLY_STEP_INL_H_
#else
#define LATENTD_KERNELS_CPU_MULTIPLY_STEP_INL_H_
#endif

#include <cstddef>

#include <hwy/cache_control.h>

#include "kernels/cpu/codecs-inl.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::Arithmetic;

// A step of whole pairs. Few rows: one vector of outputs at a time leaves registers for the sums. Many rows have few
// outputs: all weights of a pair first, then row by row.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddStep(const std::byte* line, size_t step_bytes, const float* const (&rows)[kRows], int k,
                        Sums<kA, kRows, kVecs>& sums) {
  if constexpr (kRows <= 3) {
    for (int v = 0; v < kVecs; ++v) {
      const auto codes = Codec::Load(line + Codec::Offset(v), step_bytes);
      for (int pair = 0; pair < Codec::kInputs / 2; ++pair) {
        Vec even, odd;
        Codec::Decode(codes, pair, even, odd);
        for (int r = 0; r < kRows; ++r) {
          sums.AddEven(r, v, Set(rows[r][k + 2 * pair]), even);
          sums.AddOdd(r, v, Set(rows[r][k + 2 * pair + 1]), odd);
        }
      }
    }
  } else {
    typename Codec::Codes codes[kVecs];
    for (int v = 0; v < kVecs; ++v) codes[v] = Codec::Load(line + Codec::Offset(v), step_bytes);
    for (int pair = 0; pair < Codec::kInputs / 2; ++pair) {
      Vec even[kVecs], odd[kVecs];
      for (int v = 0; v < kVecs; ++v) Codec::Decode(codes[v], pair, even[v], odd[v]);
      for (int r = 0; r < kRows; ++r) {
        const Vec x_even = Set(rows[r][k + 2 * pair]), x_odd = Set(rows[r][k + 2 * pair + 1]);
        for (int v = 0; v < kVecs; ++v) sums.AddEven(r, v, x_even, even[v]);
        for (int v = 0; v < kVecs; ++v) sums.AddOdd(r, v, x_odd, odd[v]);
      }
    }
  }
}

// The last k of a stretch, fewer than a step: neither activations nor plain floats behind them are read.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddPartOfStep(const std::byte* line, size_t step_bytes, const float* const (&rows)[kRows], int k,
                              int count, Sums<kA, kRows, kVecs>& sums) {
  for (int i = 0; i < count; ++i) {
    const bool is_odd = i % 2 == 1;
    const size_t step = is_odd ? step_bytes : 0;  // of one float row only the even one is read
    for (int v = 0; v < kVecs; ++v) {
      const auto codes = Codec::Load(line + Codec::Offset(v), step);
      Vec even, odd;
      Codec::Decode(codes, i / 2, even, odd);
      for (int r = 0; r < kRows; ++r) {
        const Vec x = Set(rows[r][k + i]);
        if (is_odd) {
          sums.AddOdd(r, v, x, odd);
        } else {
          sums.AddEven(r, v, x, even);
        }
      }
    }
  }
}

template <class Codec, int kVecs>
HWY_INLINE void PrefetchStep(const std::byte* next) {
  if constexpr (!Codec::kStreams) return hwy::Prefetch(next);
  for (size_t line = 0; line < Codec::kStepBytes; line += cpu::kLineBytes)
    for (size_t group = 0; group < kGroupBytes * kVecs / kParts; group += kGroupBytes)
      hwy::Prefetch(next + line + group);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
