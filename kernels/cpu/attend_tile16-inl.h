// One tile of streaming attention under a16, lanes over queries: blocks of up to 64 query rows as strips, their softmax
// weights, and the way back to rows.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_ATTEND_TILE16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_ATTEND_TILE16_INL_H_
#undef LATENTD_KERNELS_CPU_ATTEND_TILE16_INL_H_
#else
#define LATENTD_KERNELS_CPU_ATTEND_TILE16_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/pack_lines.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::kTileKeys;

inline constexpr int kBlockRows = 64;             // query rows whose scores are summed together
inline constexpr size_t kStripBytes = 24 * 1024;  // of a strip that all keys pass over, which stays in L1

constexpr int WholeGroups(int count) { return count / cpu::kGroupInputs * cpu::kGroupInputs; }

// strip[k][row] = rows[row][k] rounded to bf16, for up to kBlockRows rows; columns behind them, up to `columns`, are 0.
HWY_INLINE void FillStrip(const float* const* rows, int num_rows, int width, int columns, float* strip) {
  for (int row = 0; row < columns; row += kLanes) {
    for (int k = 0; k < width; k += kLanes) {
      Vec v[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        v[i] = row + i < num_rows ? RoundToBf16(hn::LoadU(kF32, rows[row + i] + k)) : hn::Zero(kF32);
      }
      Transpose(v);
      for (int i = 0; i < kLanes; ++i) hn::StoreU(v[i], kF32, strip + (k + i) * columns + row);
    }
  }
}

// scores[key][column] = keys[key] · query, for every column of the strip.
HWY_INLINE void ScoreStrip(const Strip& strip, const float* keys, size_t key_stride, int num_keys, float* scores) {
  std::fill_n(scores, num_keys * strip.width, 0.0f);
  const int most = WholeGroups(static_cast<int>(kStripBytes / sizeof(float)) / strip.width);
  for (int first = 0; first < strip.count; first += most) {
    Strip part = strip;
    part.values += static_cast<size_t>(first) * strip.stride;
    part.count = std::min(most, strip.count - first);
    const float* x[kTileKeys];
    for (int key = 0; key < num_keys; ++key) x[key] = keys + static_cast<size_t>(key) * key_stride + first;
    StripProduct(part, x, num_keys, scores, static_cast<size_t>(strip.width), cpu::Arithmetic::kA16);
  }
}

// kLanes columns of scores [key][column] become weights in place: exp(scale · score - max) rounded to bf16, and zero
// before num_hidden and from key `visible` on, a number for each lane. Moves max, carries the sum over to it and
// returns the factor that does the same for a result.
HWY_INLINE Vec SoftmaxColumns(float* scores, int columns, int num_hidden, int num_keys, float scale, Vec visible,
                              Vec& max, Vec& sum) {
  const Vec nothing = Set(-std::numeric_limits<float>::infinity());
  for (int key = 0; key < num_hidden; ++key) hn::StoreU(nothing, kF32, scores + key * columns);
  Vec most = max;
  for (int key = num_hidden; key < num_keys; ++key) {
    float* at = scores + key * columns;
    const auto is_visible = hn::Lt(Set(static_cast<float>(key)), visible);
    const Vec scaled = hn::IfThenElse(is_visible, hn::Mul(hn::LoadU(kF32, at), Set(scale)), nothing);
    hn::StoreU(scaled, kF32, at);
    most = hn::Max(most, scaled);
  }
  Vec lanes[kVirtualLanes];
  for (int lane = 0; lane < kVirtualLanes; ++lane) {
    lanes[lane] = hn::Zero(kF32);
    for (int key = lane; key < num_keys; key += kVirtualLanes) {
      float* at = scores + key * columns;
      const Vec weight = RoundToBf16(Exp(hn::Sub(hn::LoadU(kF32, at), most)));
      hn::StoreU(weight, kF32, at);
      lanes[lane] = hn::Add(lanes[lane], weight);
    }
  }
  for (int half = kVirtualLanes / 2; half >= 1; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] = hn::Add(lanes[lane], lanes[lane + half]);
  }
  const Vec factor = Exp(hn::Sub(max, most));
  sum = Fma(sum, factor, lanes[0]);
  max = most;
  return factor;
}

// weights[row][key] = columns [key][column], for the first num_rows of kLanes columns.
HWY_INLINE void StoreRows(const float* scores, int columns, int num_keys, int num_rows, float* weights) {
  for (int key = 0; key < num_keys; key += kLanes) {
    Vec v[kLanes];
    for (int i = 0; i < kLanes; ++i) v[i] = hn::LoadU(kF32, scores + (key + i) * columns);
    Transpose(v);
    for (int i = 0; i < std::min(kLanes, num_rows); ++i) hn::StoreU(v[i], kF32, weights + i * kTileKeys + key);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
