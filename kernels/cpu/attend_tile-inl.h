// One tile of streaming attention: scores of up to 64 keys for many query rows, then their softmax weights.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_ATTEND_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_ATTEND_TILE_INL_H_
#undef LATENTD_KERNELS_CPU_ATTEND_TILE_INL_H_
#else
#define LATENTD_KERNELS_CPU_ATTEND_TILE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::kTileKeys;

// Dots of kDotRows queries with kDotKeys keys are summed in registers together. Keys come in blocks that stay in L1
// while all queries pass over them; a tile ends with a block of any multiple of 8 keys.
inline constexpr int kDotRows = 4;
inline constexpr int kDotKeys = kLanes == 16 ? 4 : kLanes == 8 ? 3 : 1;
inline constexpr int kKeyBlock = kLanes == 8 ? 24 : 16;

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE Vec SumsOfLanes(const float* dots) { return hn::Load(kF32, dots); }
#else
// Adds lane l and the lane kApart behind it, of two vectors at once; b's sums take the places that a's leave free.
template <int kApart>
HWY_INLINE Vec AddApart(Vec a, Vec b) {
  Exchange<kApart>(a, b);
  return hn::Add(a, b);
}

template <int kApart>
HWY_INLINE Vec SumsOfLanesFrom(const float* dots) {
  if constexpr (kApart == kLanes) {
    return hn::Load(kF32, dots);
  } else {
    return AddApart<kApart>(SumsOfLanesFrom<2 * kApart>(dots), SumsOfLanesFrom<2 * kApart>(dots + kApart * kLanes));
  }
}

// The last levels of the tree for kLanes dots [dot][kLanes]: lane i of the result is the sum of dot i.
HWY_INLINE Vec SumsOfLanes(const float* dots) { return SumsOfLanesFrom<1>(dots); }
#endif

// The first levels of the tree: dots[row][key] becomes kLanes partial sums of q[row] · keys[key].
template <int kKeys>
HWY_INLINE void Dots(const float* const* q, const float* keys, size_t stride, int width, float* dots) {
  Vec parts[kParts][kDotRows][kKeys];
  for (int p = 0; p < kParts; ++p) {
    Vec sums[kDotRows][kKeys];
    for (auto& row : sums) {
      for (Vec& sum : row) sum = hn::Zero(kF32);
    }
#if HWY_TARGET != HWY_SCALAR
#pragma GCC unroll 6  // short loops with a mispredicted exit cost a tenth otherwise
#endif
    for (int i = p * kLanes; i < width; i += kVirtualLanes) {
      Vec k[kKeys];
      for (int j = 0; j < kKeys; ++j) k[j] = hn::LoadU(kF32, keys + static_cast<size_t>(j) * stride + i);
      for (int r = 0; r < kDotRows; ++r) {
        const Vec query = hn::LoadU(kF32, q[r] + i);
        for (int j = 0; j < kKeys; ++j) sums[r][j] = Fma(query, k[j], sums[r][j]);
      }
    }
    for (int r = 0; r < kDotRows; ++r) {
      for (int j = 0; j < kKeys; ++j) parts[p][r][j] = sums[r][j];
    }
  }
  for (int half = kParts / 2; half >= 1; half /= 2) {
    for (int p = 0; p < half; ++p) {
      for (int r = 0; r < kDotRows; ++r) {
        for (int j = 0; j < kKeys; ++j) parts[p][r][j] = hn::Add(parts[p][r][j], parts[p + half][r][j]);
      }
    }
  }
  for (int r = 0; r < kDotRows; ++r) {
    for (int j = 0; j < kKeys; ++j) hn::Store(parts[0][r][j], kF32, dots + (r * kKeyBlock + j) * kLanes);
  }
}

// scores[row][key] = q[row] · keys[key] for all keys < num_keys, rounded up to whole vectors: scores behind num_keys,
// and of keys that the rows do not see, come from any bytes of the block and are not used. scores is
// [num_rows][kTileKeys].
HWY_INLINE void ScoreTile(const float* const* q, int num_rows, const float* keys, size_t stride, int width,
                          int num_keys, float* scores) {
  HWY_ALIGN float dots[kDotRows * kKeyBlock * kLanes];
  for (int first = 0; first < num_keys; first += kKeyBlock) {
    const int count = std::min(kKeyBlock, (num_keys - first + kLanes - 1) / kLanes * kLanes);
    for (int row = 0; row < num_rows; row += kDotRows) {
      const int rows = std::min(kDotRows, num_rows - row);
      const float* queries[kDotRows];
      for (int r = 0; r < kDotRows; ++r) queries[r] = q[row + std::min(r, rows - 1)];
      const float* key = keys + static_cast<size_t>(first) * stride;
      int j = 0;
      for (; j + kDotKeys <= count; j += kDotKeys, key += kDotKeys * stride) {
        Dots<kDotKeys>(queries, key, stride, width, dots + j * kLanes);
      }
      if constexpr (kDotKeys == 3) {
        for (; j < count; ++j, key += stride) Dots<1>(queries, key, stride, width, dots + j * kLanes);
      }
      for (int r = 0; r < rows; ++r) {
        for (j = 0; j < count; j += kLanes) {
          hn::StoreU(SumsOfLanes(dots + (r * kKeyBlock + j) * kLanes), kF32,
                     scores + (row + r) * kTileKeys + first + j);
        }
      }
    }
  }
}

// Scores become weights in place: exp(scale · score - max), zero before num_hidden and from num_keys on. Moves max,
// carries sum and the result so far over to it.
HWY_INLINE void SoftmaxTile(float* scores, int num_hidden, int num_keys, float scale, float& max, float& sum,
                            float* result, int width) {
  std::fill_n(scores, num_hidden, -std::numeric_limits<float>::infinity());
  std::fill(scores + num_keys, scores + kTileKeys, -std::numeric_limits<float>::infinity());
  Vec most = Set(max);
  for (int j = 0; j < kTileKeys; j += kLanes) {
    const Vec scaled = hn::Mul(hn::LoadU(kF32, scores + j), Set(scale));
    hn::StoreU(scaled, kF32, scores + j);
    most = hn::Max(most, scaled);
  }
  const float new_max = hn::GetLane(hn::MaxOfLanes(kF32, most));
  VirtualLanes sums;
  sums.Clear();
  for (int j = 0; j < kTileKeys; j += kVirtualLanes) {
    for (int p = 0; p < kParts; ++p) {
      float* at = scores + j + p * kLanes;
      const Vec weight = Exp(hn::Sub(hn::LoadU(kF32, at), Set(new_max)));
      hn::StoreU(weight, kF32, at);
      sums.part[p] = hn::Add(sums.part[p], weight);
    }
  }
  const Vec factor = Exp(Set(max - new_max));
  sum = hn::GetLane(Fma(Set(sum), factor, Set(sums.Sum())));
  max = new_max;
  MultiplyRow(hn::GetLane(factor), result, width);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
