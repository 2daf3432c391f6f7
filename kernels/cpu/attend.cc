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

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/attend-inl.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/pack_row_tile.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/product_inputs.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/verbs.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

HWY_INLINE const float* RoundRow(const float* row, int width, float* rounded) {
  for (int i = 0; i < width; i += kLanes) StoreUpTo(RoundToBf16(LoadUpTo(row + i, width - i)), rounded + i, width - i);
  return rounded;
}

// Some panels of the weight of a head.
struct PanelShare {
  const cpu::PackedMatrix& weight;
  int first = 0;
  int end = 0;
  const std::byte* next = nullptr;  // of the item that the thread most likely takes next
};

// Items of a head's panels: rows are rounded or packed once for all of an item, so it has as many as threads can spare.
int PanelsPerItem(const AttendCall& call, int num_panels) {
  return call.shape.num_heads >= 4 * call.pool.num_threads() ? num_panels : 1;
}

HWY_INLINE void PackRows(const float* const* x, int num_rows, int inputs, uint16_t* tiles, cpu::ProductRows& rows) {
  rows.tiles = tiles;
  rows.tile_rows = std::min(num_rows, cpu::kTileRows);
  rows.row_tile_values = cpu::RowTileValues(rows.tile_rows, inputs);
  for (int first = 0; first < num_rows; first += cpu::kTileRows, tiles += rows.row_tile_values)
    cpu::PackRowTile(x + first, std::min(cpu::kTileRows, num_rows - first), rows.tile_rows, inputs, tiles);
}

// The first panel of the item that the thread most likely takes after `item`, of weight_of(head); null behind the last.
template <class WeightOf>
HWY_INLINE const std::byte* NextPanel(const AttendCall& call, int item, int head_items, int item_panels,
                                      const WeightOf& weight_of) {
  const int next = ThreadPool::NextItem(item, call.shape.num_heads * head_items);
  if (next < 0) return nullptr;
  const cpu::PackedMatrix& weight = weight_of(next / head_items);
  const int panel = next % head_items * item_panels;
  return panel < weight.num_panels() ? weight.Panel(panel) : nullptr;
}

// For these panels: the product with `inputs(token)`, stored at `outputs(token)`, of the wave's tokens.
template <class Inputs, class Outputs>
HWY_INLINE void WavePanels(const AttendCall& call, const PanelShare& panels, int thread, const Inputs& inputs,
                           const Outputs& outputs) {
  const cpu::PackedMatrix& weight = panels.weight;
  const int num_tokens = call.scratch.num_tokens();
  const bool is_a16 = call.UpArithmetic() == cpu::Arithmetic::kA16;
  const bool on_tiles = is_a16 && cpu::ServeTiles(call.scratch.tile_product(), weight, cpu::InputKind::kBf16);
  const float* x[cpu::kMaxProductRows];
  for (int first = 0; first < num_tokens; first += cpu::kMaxProductRows) {
    const int count = std::min(cpu::kMaxProductRows, num_tokens - first);
    for (int i = 0; i < count; ++i) x[i] = inputs(first + i);
    cpu::ProductRows rows{.arithmetic = call.UpArithmetic(), .values = x};
    if (on_tiles) {
      rows.tile_product = call.scratch.tile_product();
      PackRows(x, count, weight.inputs, call.scratch.product_tiles(thread), rows);
    } else if (is_a16) {
      for (int i = 0; i < count; ++i) x[i] = RoundRow(x[i], weight.inputs, call.scratch.product_row(thread, i));
    }
    for (int panel = panels.first; panel < panels.end; ++panel) {
      const std::byte* const next = panel + 1 < panels.end ? weight.Panel(panel + 1) : panels.next;
      StorePanelProduct(
          weight, panel, rows, count, [&](int i) { return outputs(first + i); }, next);
    }
  }
}

void AbsorbQueries(const AttendCall& call) {
  const AttentionShape& shape = call.shape;
  const int num_tokens = call.scratch.num_tokens(), num_panels = call.up.Key(0).num_panels();
  const int item_panels = PanelsPerItem(call, num_panels), head_items = num_panels / item_panels;
  const auto query = [&](int token, int head) {
    return call.q.Row(call.scratch.first_token() + token) + head * shape.query_width();
  };
  call.pool.ForEach(shape.num_heads * head_items, [&](int item, int thread) HWY_ATTR {
    const int head = item / head_items, first = item % head_items * item_panels;
    const std::byte* const next = NextPanel(
        call, item, head_items, item_panels, [&](int h) -> const auto& { return call.up.Key(h); });
    WavePanels(
        call, {call.up.Key(head), first, first + item_panels, next}, thread,
        [&](int token) { return query(token, head); }, [&](int token) { return call.Query(token, head); });
    if (first != 0) return;
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
  const int most_panels = call.up.MostValuePanels();
  const int item_panels = PanelsPerItem(call, most_panels), head_items = most_panels / item_panels;
  call.pool.ForEach(call.shape.num_heads * head_items, [&](int item, int thread) HWY_ATTR {
    const int head = item / head_items, first = item % head_items * item_panels;
    const cpu::PackedMatrix& weight = call.up.Value(head);
    const std::byte* const next = NextPanel(
        call, item, head_items, item_panels, [&](int h) -> const auto& { return call.up.Value(h); });
    WavePanels(
        call, {weight, first, std::min(first + item_panels, weight.num_panels()), next}, thread,
        [&](int token) { return call.Query(token, head); },
        [&](int token) { return call.out.Row(call.scratch.first_token() + token) + head * call.shape.value_width; });
  });
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
  if (stretch.first_range == stretch.group.first_range()) {
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
  if (stretch.end_range < stretch.group.end_range()) return;
  const bool is_rounded = call.UpArithmetic() == cpu::Arithmetic::kA16;
  const Vec inverse = Set(1.0f / running.sum[to]);
  float* latent = call.Query(wave_token, head);
  for (int i = 0; i < running.latents.width; i += kLanes) {
    const Vec mean = hn::Mul(hn::LoadU(kF32, result + i), inverse);
    hn::StoreU(is_rounded ? RoundToBf16(mean) : mean, kF32, latent + i);
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
        const float* queries[kItemRows];
        for (int row = 0; row < stretch.group.num_tokens * num_heads; ++row) {
          const int token = stretch.group.first_token - call.scratch.first_token() + row / num_heads;
          queries[row] = call.Query(token, slice * kSliceHeads + row % num_heads);
        }
        const int first_row = (range * call.shape.num_heads + slice * kSliceHeads) * stretch.group.num_tokens;
        const RangeItem item{.call = call,
                             .group = stretch.group,
                             .range = stretch.first_range + range,
                             .num_heads = num_heads,
                             .queries = queries,
                             .first_row = stretch.first_row + static_cast<size_t>(first_row),
                             .keys = call.scratch.keys(thread),
                             .strips = call.scratch.strips(thread)};
        return call.arithmetic() == cpu::Arithmetic::kA16 ? AttendRange16(item) : AttendRange32(item);
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
  CHECK(pages.format == LatentFormat::kF32 ? scratch.arithmetic() == Arithmetic::kA32 : scratch.keys(0) != nullptr);
  HWY_DYNAMIC_DISPATCH(AttendLatentPages)(pool, scratch, q, key_value_up, shape, scale, batch, pages, out);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
