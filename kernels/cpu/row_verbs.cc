// The verbs that treat each token's row by itself: norms, SwiGLU, rotation, and storing latents.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_verbs.cc"
#include <algorithm>
#include <cmath>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/activation_codes-inl.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/latent_slot-inl.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/verbs.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

HWY_INLINE float SumOfSquares(const float* x, int width) {
  VirtualLanes sums;
  sums.Clear();
  for (int i = 0; i < width; i += kVirtualLanes) {
    for (int p = 0; p < kParts; ++p) {
      const Vec v = LoadUpTo(x + i + p * kLanes, width - i - p * kLanes);
      sums.part[p] = Fma(v, v, sums.part[p]);
    }
  }
  return sums.Sum();
}

HWY_INLINE void NormRow(const float* x, const float* weight, float epsilon, int width, float* out) {
  const float mean = SumOfSquares(x, width) / static_cast<float>(width);
  const Vec scale = Set(1.0f / std::sqrt(mean + epsilon));
  for (int i = 0; i < width; i += kLanes) {
    const int left = width - i;
    StoreUpTo(hn::Mul(hn::Mul(LoadUpTo(x + i, left), scale), LoadUpTo(weight + i, left)), out + i, left);
  }
}

HWY_INLINE void AddRow(const float* delta, int width, float* x) {
  for (int i = 0; i < width; i += kLanes) {
    const int left = width - i;
    StoreUpTo(hn::Add(LoadUpTo(x + i, left), LoadUpTo(delta + i, left)), x + i, left);
  }
}

// Rotates `width` values of x, which may be out; angles holds width/2 cosines, then as many sines.
HWY_INLINE void Rotate(const float* angles, RopePairs pairs, int width, const float* x, float* out) {
  const int half = width / 2;
  const int step = pairs == RopePairs::kAdjacent ? 2 : 1;
  const int apart = pairs == RopePairs::kAdjacent ? 1 : half;
  for (int i = 0; i < half; ++i) {
    const float cosine = angles[i], sine = angles[half + i];
    const float a = x[i * step], b = x[i * step + apart];
    out[i * step] = std::fma(a, cosine, -(b * sine));
    out[i * step + apart] = std::fma(a, sine, b * cosine);
  }
}

void RmsNormRows(ThreadPool& pool, Tensor x, const float* weight, float epsilon, const Activation& out) {
  pool.ForEach(x.rows, [&](int row, int) HWY_ATTR {
    NormRow(x.Row(row), weight, epsilon, x.width, out.values.Row(row));
    FillCodes(out, row);
  });
}

void AddRmsNormRows(ThreadPool& pool, Tensor x, Tensor delta, const float* weight, float epsilon,
                    const Activation& out) {
  pool.ForEach(x.rows, [&](int row, int) HWY_ATTR {
    AddRow(delta.Row(row), x.width, x.Row(row));
    NormRow(x.Row(row), weight, epsilon, x.width, out.values.Row(row));
    FillCodes(out, row);
  });
}

void SwiGluRows(ThreadPool& pool, Tensor gate, Tensor up, const Activation& out) {
  pool.ForEach(gate.rows, [&](int row, int) HWY_ATTR {
    const float* g = gate.Row(row);
    const float* u = up.Row(row);
    float* o = out.values.Row(row);
    for (int i = 0; i < gate.width; i += kLanes) {
      const int left = gate.width - i;
      StoreUpTo(SiluTimes(LoadUpTo(g + i, left), LoadUpTo(u + i, left)), o + i, left);
    }
    FillCodes(out, row);
  });
}

void RotateQueryRows(ThreadPool& pool, const Batch& batch, const RopeTable& rope, const AttentionShape& shape,
                     Tensor q) {
  pool.ForEach(q.rows, [&](int token, int) HWY_ATTR {
    const float* angles = rope.angles.Row(batch.positions[static_cast<size_t>(token)]);
    for (int head = 0; head < shape.num_heads; ++head) {
      float* const part = q.Row(token) + head * shape.query_width() + shape.nope_width;
      Rotate(angles, rope.pairs, shape.rope_width, part, part);
    }
  });
}

void AppendLatentRows(ThreadPool& pool, const cpu::AttentionScratch& scratch, Tensor kv, const float* weight,
                      float epsilon, const Batch& batch, const RopeTable& rope, LatentPages pages) {
  const bool is_encoded = pages.format != LatentFormat::kF32;
  pool.ForEach(kv.rows, [&](int token, int thread) HWY_ATTR {
    const auto index = static_cast<size_t>(token);
    if (batch.slots[index] == kNoSlot) return;
    std::byte* slot = pages.Slot(batch.slots[index]);
    float* key = is_encoded ? scratch.keys(thread) : reinterpret_cast<float*>(slot);
    // Rows that share a block may compute its last position again, at the same time: each byte is written as it stays.
    NormRow(kv.Row(token), weight, epsilon, pages.latent_width, key);
    float* key_part = key + pages.latent_width;
    Rotate(rope.angles.Row(batch.positions[index]), rope.pairs, pages.rope_width, kv.Row(token) + pages.latent_width,
           key_part);
    // Dot products run over whole vectors, so into the padding.
    std::fill(key_part + pages.rope_width, key + pages.slot_values(), 0.0f);
    if (is_encoded) WriteSlot(pages, key, slot);
  });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(AddRmsNormRows);
HWY_EXPORT(SwiGluRows);
HWY_EXPORT(RotateQueryRows);
HWY_EXPORT(AppendLatentRows);

void RmsNorm(ThreadPool& pool, Tensor x, const float* weight, float epsilon, const Activation& out) {
  HWY_DYNAMIC_DISPATCH(RmsNormRows)(pool, x, weight, epsilon, out);
}

void AddRmsNorm(ThreadPool& pool, Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) {
  HWY_DYNAMIC_DISPATCH(AddRmsNormRows)(pool, x, delta, weight, epsilon, out);
}

void SwiGlu(ThreadPool& pool, Tensor gate, Tensor up, const Activation& out) {
  HWY_DYNAMIC_DISPATCH(SwiGluRows)(pool, gate, up, out);
}

void RotateQueries(ThreadPool& pool, const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) {
  HWY_DYNAMIC_DISPATCH(RotateQueryRows)(pool, batch, rope, shape, q);
}

void AppendLatent(ThreadPool& pool, const AttentionScratch& scratch, Tensor kv, const float* weight, float epsilon,
                  const Batch& batch, const RopeTable& rope, LatentPages pages) {
  if (pages.format != LatentFormat::kF32) {
    CHECK_EQ(pages.slot_values(), scratch.queries().width);
    CHECK(scratch.keys(0) != nullptr);
  }
  HWY_DYNAMIC_DISPATCH(AppendLatentRows)(pool, scratch, kv, weight, epsilon, batch, rope, pages);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
