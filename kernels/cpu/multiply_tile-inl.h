// A tile of a product: some rows times some groups of 16 outputs, whose sums stay in registers. Compiled once per
// Highway target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_MULTIPLY_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_MULTIPLY_TILE_INL_H_
#undef LATENTD_KERNELS_CPU_MULTIPLY_TILE_INL_H_
#else
#define LATENTD_KERNELS_CPU_MULTIPLY_TILE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codecs-inl.h"
#include "kernels/cpu/multiply_step-inl.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::Arithmetic;

inline constexpr int kGroup = 16;  // outputs, kParts vectors
inline constexpr int kGroupsPerPanel = cpu::kPanelOutputs / kGroup;

// `count` consecutive k of some rows and outputs. A row's totals lie totals_stride apart.
struct Stretch {
  const std::byte* lines = nullptr;  // from first_k on
  size_t step_bytes = 0;             // of Codec::kInputs k
  const float* const* x = nullptr;
  int first_k = 0;
  int count = 0;
  float* totals = nullptr;
  size_t totals_stride = 0;
  // Whether the sums start at zero, to be multiplied and added to the totals, or carry on from these.
  bool is_scaled = false;
  float scale = 1.0f;
  const uint16_t* lane_scales = nullptr;   // in place of it, of INT4: PackedMatrix has them behind the lines
  const float* const* x_scales = nullptr;  // by row, of the block; null: 1
  int block = 0;
  // Prefetched meanwhile; need not be mapped. What streams fetches its next block line by line, a strip, which is in L1
  // already, next_bytes for each of its steps.
  const std::byte* next = nullptr;
  size_t next_bytes = 0;
};

// What multiplies the sums of kLanes outputs, from the stretch's output n on.
HWY_INLINE Vec ScalesOf(const Stretch& s, int n) {
  if (s.lane_scales == nullptr) return Set(s.scale);
  constexpr hn::Rebind<uint16_t, F32> kHalves;
  constexpr hn::RebindToUnsigned<F32> kWords;
  return hn::BitCast(kF32, hn::ShiftLeft<16>(hn::PromoteTo(kWords, hn::LoadU(kHalves, s.lane_scales + n))));
}

// Adds k [begin, begin + count) of the stretch.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddSteps(const Stretch& s, const float* const (&rows)[kRows], int begin, int count,
                         Sums<kA, kRows, kVecs>& sums) {
  const auto first_step = static_cast<size_t>(begin / Codec::kInputs);
  const size_t step_bytes = s.step_bytes, next_bytes = Codec::kStreams ? step_bytes : s.next_bytes;
  const std::byte* line = s.lines + first_step * step_bytes;
  const std::byte* next = s.next + first_step * next_bytes;
  const int end = begin + count;
  int k = begin;
#pragma GCC unroll 4  // short loops with a mispredicted exit cost 6 % otherwise
  for (; k + Codec::kInputs <= end; k += Codec::kInputs, line += step_bytes, next += next_bytes) {
    PrefetchStep<Codec, kVecs>(next);
    AddStep<Codec, kA, kRows, kVecs>(line, step_bytes, rows, k, sums);
  }
  if constexpr (Codec::kInputs > 1) {
    if (k < end) AddPartOfStep<Codec, kA, kRows, kVecs>(line, step_bytes, rows, k, end - k, sums);
  }
}

template <int kRows>
HWY_INLINE void FindRows(const Stretch& s, const float* (&rows)[kRows]) {
  for (int r = 0; r < kRows; ++r) rows[r] = s.x[r] + s.first_k;
}

// totals + k [begin, begin + count) of the stretch, up to a group of kGroupInputs.
template <class Codec, int kRows, int kVecs>
HWY_INLINE void AddGroup(const Stretch& s, const float* const (&rows)[kRows], int begin, int count) {
  Sums<Arithmetic::kA16, kRows, kVecs> group;
  group.Clear();
  AddSteps<Codec, Arithmetic::kA16, kRows, kVecs>(s, rows, begin, count, group);
  float* const totals = s.totals;
  const size_t totals_stride = s.totals_stride;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) {
      Vec even = group.chain[0][r][v], odd = group.chain[1][r][v];
      // The zeros that fill up the last group: they make a zero positive.
      if (count < cpu::kGroupInputs) odd = Add16(odd, hn::Zero(kF32));
      if (count < cpu::kGroupInputs - 1) even = Add16(even, hn::Zero(kF32));
      float* const total = totals + static_cast<size_t>(r) * totals_stride + v * kLanes;
      hn::StoreU(Add16(hn::LoadU(kF32, total), Add16(even, odd)), kF32, total);
    }
  }
}

template <class Codec, int kRows, int kVecs>
HWY_NOINLINE void AddLastGroup(const Stretch& s, const float* const (&rows)[kRows], int begin) {
  AddGroup<Codec, kRows, kVecs>(s, rows, begin, s.count - begin);
}

// Within FlushSubnormals; not scaled.
template <class Codec, int kRows, int kVecs>
HWY_NOINLINE void MultiplyTile16(const Stretch& s) {
  const float* rows[kRows];
  FindRows(s, rows);
  int begin = 0;
  for (; begin + cpu::kGroupInputs <= s.count; begin += cpu::kGroupInputs)
    AddGroup<Codec, kRows, kVecs>(s, rows, begin, cpu::kGroupInputs);
  if (begin < s.count) AddLastGroup<Codec, kRows, kVecs>(s, rows, begin);
}

template <class Codec, int kRows, int kVecs>
HWY_NOINLINE void MultiplyTile32(const Stretch& s) {
  const float* rows[kRows];
  FindRows(s, rows);
  Sums<Arithmetic::kA32, kRows, kVecs> sums;
  sums.Clear();
  if (!s.is_scaled) {
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVecs; ++v)
        sums.chain[0][r][v] = hn::LoadU(kF32, s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes);
  }
  AddSteps<Codec, Arithmetic::kA32, kRows, kVecs>(s, rows, 0, s.count, sums);
  for (int v = 0; v < kVecs; ++v) {
    const Vec scale = ScalesOf(s, v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      float* const total = s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes;
      const Vec sum = sums.chain[0][r][v];
      hn::StoreU(s.is_scaled ? Fma(scale, sum, hn::LoadU(kF32, total)) : sum, kF32, total);
    }
  }
}

template <class Codec, Arithmetic kA, int kRows, int kGroups>
HWY_INLINE void MultiplyTile(const Stretch& s) {
  if constexpr (kA == Arithmetic::kA16) {
    MultiplyTile16<Codec, kRows, kGroups * kParts>(s);
  } else {
    MultiplyTile32<Codec, kRows, kGroups * kParts>(s);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
