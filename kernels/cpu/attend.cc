// AttendLatent, absorbed: q̃ = W_UKᵀ q_n, softmax(scale · [q̃; q_r] · [c; k_r]) over paged slots, out = W_UV Σ p c.
//
// A wave of tokens is absorbed, then its items run: (up to 16 tokens of a row, a range of 512 keys, up to 16 heads). An
// item walks the range's tiles of 64 keys with its own running maximum, sum and result; a tile that is not stored as
// floats is decoded into its thread's scratch first. Finished ranges are folded into each token's running result in
// ascending order; where memory holds fewer ranges than the wave has, that takes several rounds. Which tokens, heads
// and ranges share an item or a round changes no sum.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attend.cc"
#include <algorithm>
#include <cstddef>
#include <limits>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/attend_tile-inl.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/latent_slot-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/verbs.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::AttentionScratch;
using cpu::kGroupTokens;
using cpu::kRangeKeys;
using cpu::kSliceHeads;
using cpu::RangeStretch;
using cpu::TokenGroup;

inline constexpr float kNothing = -std::numeric_limits<float>::infinity();  // the maximum of no scores

struct AttendCall {
  ThreadPool& pool;
  AttentionScratch& scratch;
  const cpu::KeyValueUp& up;
  const AttentionShape& shape;
  float scale;
  const LatentPages& pages;
  Tensor q;
  Tensor out;

  int num_slices() const { return (shape.num_heads + kSliceHeads - 1) / kSliceHeads; }
  int SliceHeads(int slice) const { return std::min(kSliceHeads, shape.num_heads - slice * kSliceHeads); }
  float* Query(int token, int head) const {  // token of the wave
    return scratch.queries().Row(token * shape.num_heads + head);
  }
};

// For one head's weight and one panel of it: the product with `inputs(token)`, stored at `outputs(token)`, of the
// wave's tokens.
template <class Inputs, class Outputs>
HWY_INLINE void WavePanel(const cpu::PackedMatrix& weight, int panel, int num_tokens, const Inputs& inputs,
                          const Outputs& outputs) {
  const float* x[cpu::kMaxProductRows];
  for (int first = 0; first < num_tokens; first += cpu::kMaxProductRows) {
    const int count = std::min(cpu::kMaxProductRows, num_tokens - first);
    for (int i = 0; i < count; ++i) x[i] = inputs(first + i);
    StorePanelProduct(weight, panel, {.values = x}, count, [&](int i) { return outputs(first + i); });
  }
}

void AbsorbQueries(const AttendCall& call) {
  const AttentionShape& shape = call.shape;
  const int num_tokens = call.scratch.num_tokens(), num_panels = call.up.Key(0).num_panels();
  const auto query = [&](int token, int head) {
    return call.q.Row(call.scratch.first_token() + token) + head * shape.query_width();
  };
  call.pool.ForEach(shape.num_heads * num_panels, [&](int item, int) HWY_ATTR {
    const int head = item / num_panels, panel = item % num_panels;
    WavePanel(
        call.up.Key(head), panel, num_tokens, [&](int token) { return query(token, head); },
        [&](int token) { return call.Query(token, head); });
    if (panel != 0) return;
    for (int token = 0; token < num_tokens; ++token) {
      const float* rope = query(token, head) + shape.nope_width;
      float* to = call.Query(token, head) + shape.latent_width;
      float* end = call.Query(token, head) + call.scratch.queries().width;
      std::fill(std::copy_n(rope, shape.rope_width, to), end, 0.0f);
    }
  });
}

void ExpandValues(const AttendCall& call) {
  // Heads whose rows straddle a panel's edge in the full matrix have one panel more than others.
  const int num_tokens = call.scratch.num_tokens(), most_panels = call.up.MostValuePanels();
  call.pool.ForEach(call.shape.num_heads * most_panels, [&](int item, int) HWY_ATTR {
    const int head = item / most_panels, panel = item % most_panels;
    if (panel >= call.up.Value(head).num_panels()) return;
    WavePanel(
        call.up.Value(head), panel, num_tokens, [&](int token) { return call.Query(token, head); },
        [&](int token) { return call.out.Row(call.scratch.first_token() + token) + head * call.shape.value_width; });
  });
}

// One group of tokens, one range, one slice of heads. Rows are [token][head of the slice].
struct RangeItem {
  const AttendCall& call;
  const TokenGroup& group;
  int range;
  int num_heads;
  const float* const* queries;  // by row
  size_t first_row;             // of the partial results
  float* keys;                  // room for a decoded tile

  int num_rows() const { return group.num_tokens * num_heads; }
  int key_stride() const { return call.scratch.queries().width; }
  float* latents(int row) const {
    const Tensor& t = call.scratch.partial().latents;
    return t.values + (first_row + static_cast<size_t>(row)) * static_cast<size_t>(t.stride);
  }
};

// results[row] += Σ weight · latent. Keys that all tokens from first_token on see go first, all rows together; then
// what later tokens see beyond them, which keeps every row's keys in ascending order.
HWY_INLINE void AddLatents(const RangeItem& item, int first_token, int first_keys, const float* tile,
                           const std::byte* next, const float* weights) {
  const float* x[kGroupTokens * kSliceHeads];
  const Tensor& results = item.call.scratch.partial().latents;
  const auto stride = static_cast<size_t>(item.key_stride());
  const auto results_stride = static_cast<size_t>(results.stride);
  const int first_row = first_token * item.num_heads;
  for (int row = first_row; row < item.num_rows(); ++row) x[row] = weights + row * kTileKeys;
  Strip strip{.values = tile, .stride = stride, .width = results.width, .count = first_keys};
  strip.next = next;
  strip.next_bytes = item.call.pages.block_bytes();
  StripProduct(strip, x + first_row, item.num_rows() - first_row, item.latents(first_row), results_stride,
               cpu::Arithmetic::kA32);

  strip.values += static_cast<size_t>(first_keys) * stride;
  strip.next = nullptr;
  for (int token = first_token + 1; token < item.group.num_tokens; ++token) {
    strip.count = std::min(kTileKeys - first_keys, token - first_token);
    if (strip.count == 0) break;
    const int row = token * item.num_heads;
    for (int i = row; i < row + item.num_heads; ++i) x[i] += first_keys;
    StripProduct(strip, x + row, item.num_heads, item.latents(row), results_stride, cpu::Arithmetic::kA32);
  }
}

// The visible keys of a page, as floats.
HWY_INLINE const float* Keys(const RangeItem& item, const std::byte* page, int num_keys) {
  const LatentPages& pages = item.call.pages;
  if (pages.format == LatentFormat::kF32) return reinterpret_cast<const float*>(page);
  for (int key = 0; key < num_keys; ++key) {
    ReadSlot(pages, page + static_cast<size_t>(key) * pages.slot_bytes(), item.keys + key * item.key_stride());
  }
  return item.keys;
}

void AttendTile(const RangeItem& item, int first_key, const std::byte* page, const std::byte* next, float* weights) {
  const AttentionScratch& scratch = item.call.scratch;
  const TokenGroup& group = item.group;
  const int first_token = std::max(0, first_key - group.first_position);  // earlier ones end before this tile
  const auto visible = [&](int token) { return std::min(kTileKeys, group.first_position + token - first_key + 1); };
  const int first_row = first_token * item.num_heads, num_keys = visible(group.num_tokens - 1);
  const float* tile = Keys(item, page, num_keys);
  ScoreTile(item.queries + first_row, item.num_rows() - first_row, tile, static_cast<size_t>(item.key_stride()),
            item.key_stride(), num_keys, weights + first_row * kTileKeys);
  for (int row = first_row; row < item.num_rows(); ++row) {
    const size_t result = item.first_row + static_cast<size_t>(row);
    SoftmaxTile(weights + row * kTileKeys, visible(row / item.num_heads), item.call.scale,
                scratch.partial().max[result], scratch.partial().sum[result], item.latents(row),
                scratch.partial().latents.width);
  }
  AddLatents(item, first_token, visible(first_token), tile, next, weights);
}

void AttendRange(const RangeItem& item) {
  HWY_ALIGN float weights[kGroupTokens * kSliceHeads * kTileKeys];
  const AttentionScratch::Results& partial = item.call.scratch.partial();
  const auto num_rows = static_cast<size_t>(item.num_rows());
  std::fill_n(partial.max + item.first_row, num_rows, kNothing);
  std::fill_n(partial.sum + item.first_row, num_rows, 0.0f);
  std::fill_n(item.latents(0), num_rows * static_cast<size_t>(partial.latents.stride), 0.0f);

  const int last_key = item.group.first_position + item.group.num_tokens - 1;
  const int first_tile = item.range * (kRangeKeys / kTileKeys);
  const int end_tile = std::min(first_tile + kRangeKeys / kTileKeys, last_key / kTileKeys + 1);
  const auto page = [&](int index) { return item.call.pages.Slot(item.group.blocks[index] * kBlockSlots); };
  for (int index = first_tile; index < end_tile; ++index) {
    AttendTile(item, index * kTileKeys, page(index), index + 1 < end_tile ? page(index + 1) : nullptr, weights);
  }
}

// running = running ⊕ partial, one row; partial holds later keys.
HWY_INLINE void FoldRow(const AttentionScratch::Results& partial, size_t from, const AttentionScratch::Results& running,
                        size_t to) {
  const float max = std::max(running.max[to], partial.max[from]);
  const Vec old_factor = Exp(Set(running.max[to] - max)), new_factor = Exp(Set(partial.max[from] - max));
  running.sum[to] = hn::GetLane(Fma(Set(partial.sum[from]), new_factor, hn::Mul(Set(running.sum[to]), old_factor)));
  running.max[to] = max;
  const auto stride = static_cast<size_t>(running.latents.stride);
  float* result = running.latents.values + to * stride;
  const float* added = partial.latents.values + from * stride;
  for (int i = 0; i < running.latents.width; i += kLanes) {
    const Vec kept = hn::Mul(hn::LoadU(kF32, result + i), old_factor);
    hn::StoreU(Fma(hn::LoadU(kF32, added + i), new_factor, kept), kF32, result + i);
  }
}

// Folds the stretch's ranges into one token's head; after the last range the query's place takes the normalised latent.
void FoldHead(const AttendCall& call, const RangeStretch& stretch, int token, int head) {
  const AttentionScratch::Results &partial = call.scratch.partial(), &running = call.scratch.running();
  const int wave_token = stretch.group.first_token - call.scratch.first_token() + token;
  const auto to = static_cast<size_t>(wave_token * call.shape.num_heads + head);
  float* result = running.latents.Row(static_cast<int>(to));
  if (stretch.first_range == 0) {
    running.max[to] = kNothing;
    running.sum[to] = 0.0f;
    std::fill_n(result, running.latents.width, 0.0f);
  }
  const int slice = head / kSliceHeads;
  const int end_range = (stretch.group.first_position + token) / kRangeKeys + 1;
  for (int range = stretch.first_range; range < std::min(stretch.end_range, end_range); ++range) {
    const int row =
        ((range - stretch.first_range) * call.shape.num_heads + slice * kSliceHeads) * stretch.group.num_tokens +
        token * call.SliceHeads(slice) + head % kSliceHeads;
    FoldRow(partial, stretch.first_row + static_cast<size_t>(row), running, to);
  }
  if (stretch.end_range < stretch.group.num_ranges()) return;
  const Vec inverse = Set(1.0f / running.sum[to]);
  float* latent = call.Query(wave_token, head);
  for (int i = 0; i < running.latents.width; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(kF32, result + i), inverse), kF32, latent + i);
  }
}

// Calls body(stretch, index, thread) for every index below `count(stretch)` of every stretch of the round, in parallel.
template <class Count, class Body>
HWY_INLINE void ForEachOfRound(const AttendCall& call, const Count& count, const Body& body) {
  int total = 0;
  for (const RangeStretch& stretch : call.scratch.stretches()) total += count(stretch);
  call.pool.ForEach(total, [&](int item, int thread) HWY_ATTR {
    for (const RangeStretch& stretch : call.scratch.stretches()) {
      const int here = count(stretch);
      if (item < here) return body(stretch, item, thread);
      item -= here;
    }
  });
}

void AttendRound(const AttendCall& call) {
  const int num_slices = call.num_slices();
  ForEachOfRound(
      call, [&](const RangeStretch& s) { return (s.end_range - s.first_range) * num_slices; },
      [&](const RangeStretch& stretch, int index, int thread) HWY_ATTR {
        const int range = index / num_slices, slice = index % num_slices, num_heads = call.SliceHeads(slice);
        const float* queries[kGroupTokens * kSliceHeads];
        for (int row = 0; row < stretch.group.num_tokens * num_heads; ++row) {
          const int token = stretch.group.first_token - call.scratch.first_token() + row / num_heads;
          queries[row] = call.Query(token, slice * kSliceHeads + row % num_heads);
        }
        const int first_row = (range * call.shape.num_heads + slice * kSliceHeads) * stretch.group.num_tokens;
        AttendRange({.call = call,
                     .group = stretch.group,
                     .range = stretch.first_range + range,
                     .num_heads = num_heads,
                     .queries = queries,
                     .first_row = stretch.first_row + static_cast<size_t>(first_row),
                     .keys = call.scratch.keys(thread)});
      });
  ForEachOfRound(
      call, [&](const RangeStretch& s) { return s.group.num_tokens * num_slices; },
      [&](const RangeStretch& stretch, int index, int) HWY_ATTR {
        const int token = index / num_slices, slice = index % num_slices;
        for (int h = 0; h < call.SliceHeads(slice); ++h) FoldHead(call, stretch, token, slice * kSliceHeads + h);
      });
}

void AttendAll(const AttendCall& call, const Batch& batch) {
  for (int token = 0; token < batch.num_tokens();) {
    token = call.scratch.PlanWave(batch, token);
    AbsorbQueries(call);
    while (call.scratch.PlanRound()) AttendRound(call);
    ExpandValues(call);
  }
}

void AttendLatentPages(ThreadPool& pool, AttentionScratch& scratch, Tensor q, const Matrix& key_value_up,
                       const AttentionShape& shape, float scale, const Batch& batch, LatentPages pages, Tensor out) {
  AttendAll({.pool = pool,
             .scratch = scratch,
             .up = static_cast<const cpu::KeyValueUp&>(key_value_up),
             .shape = shape,
             .scale = scale,
             .pages = pages,
             .q = q,
             .out = out},
            batch);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(AttendLatentPages);

void AttendLatent(ThreadPool& pool, AttentionScratch& scratch, Tensor q, const Matrix& key_value_up,
                  const AttentionShape& shape, float scale, const Batch& batch, LatentPages pages, Tensor out) {
  CHECK_EQ(pages.slot_values(), scratch.queries().width);
  CHECK(pages.format == LatentFormat::kF32 || scratch.keys(0) != nullptr);
  HWY_DYNAMIC_DISPATCH(AttendLatentPages)(pool, scratch, q, key_value_up, shape, scale, batch, pages, out);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
