// What the parts of AttendLatent share: the call, and an item of it. attend.cc cuts a call into items; attend32.cc
// computes an item under a32, attend16.cc under a16. Declared once per Highway target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_ATTEND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_ATTEND_INL_H_
#undef LATENTD_KERNELS_CPU_ATTEND_INL_H_
#else
#define LATENTD_KERNELS_CPU_ATTEND_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/latent_slot-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::AttentionScratch;
using cpu::kGroupTokens;
using cpu::kItemRows;
using cpu::kRangeKeys;
using cpu::kSliceHeads;
using cpu::kTileKeys;
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

  // How queries and latents are multiplied.
  cpu::Arithmetic arithmetic() const { return scratch.arithmetic(); }
  // How W_UK and W_UV are: fp32 weights meet fp32 values.
  cpu::Arithmetic UpArithmetic() const {
    return up.Key(0).dtype() == DType::kF32 ? cpu::Arithmetic::kA32 : arithmetic();
  }
  int num_slices() const { return (shape.num_heads + kSliceHeads - 1) / kSliceHeads; }
  int SliceHeads(int slice) const { return std::min(kSliceHeads, shape.num_heads - slice * kSliceHeads); }
  float* Query(int token, int head) const {  // token of the wave
    return scratch.queries().Row(token * shape.num_heads + head);
  }
};

// One group of tokens, one range, one slice of heads. Rows are [token][head of the slice].
struct RangeItem {
  const AttendCall& call;
  const TokenGroup& group;
  int range;
  int num_heads;
  const float* const* queries;  // by row
  size_t first_row;             // of the partial results
  float* keys;                  // room for a decoded tile
  float* strips;                // a16: room for the queries, by blocks of rows

  int num_rows() const { return group.num_tokens * num_heads; }
  // The first token that sees a key of the tile from first_key on: those before end earlier.
  int FirstToken(int first_key) const { return std::max(0, first_key - group.first_position); }
  // A token from there on sees keys [Hidden, Visible) of the tile: at least one.
  int Hidden(int first_key) const { return std::max(0, group.first_key - first_key); }
  int Visible(int token, int first_key) const {
    return std::min(kTileKeys, group.first_position + token - first_key + 1);
  }
  int key_stride() const { return call.scratch.queries().width; }
  float* latents(int row) const {
    const Tensor& t = call.scratch.partial().latents;
    return t.values + (first_row + static_cast<size_t>(row)) * static_cast<size_t>(t.stride);
  }
};

// Starts an item's partial results: no key yet.
HWY_INLINE void ClearResults(const RangeItem& item) {
  const AttentionScratch::Results& partial = item.call.scratch.partial();
  const auto num_rows = static_cast<size_t>(item.num_rows());
  std::fill_n(partial.max + item.first_row, num_rows, kNothing);
  std::fill_n(partial.sum + item.first_row, num_rows, 0.0f);
  std::fill_n(item.latents(0), num_rows * static_cast<size_t>(partial.latents.stride), 0.0f);
}

// Calls body(first_key, page, next) for each tile of the range that a token of the group sees; next is the page behind,
// null for the last.
template <class Body>
HWY_INLINE void ForEachTile(const RangeItem& item, const Body& body) {
  const int last_key = item.group.first_position + item.group.num_tokens - 1;
  const int range_tile = item.range * (kRangeKeys / kTileKeys);
  const int first_tile = std::max(range_tile, item.group.first_key / kTileKeys);
  const int end_tile = std::min(range_tile + kRangeKeys / kTileKeys, last_key / kTileKeys + 1);
  const auto page = [&](int index) { return item.call.pages.Slot(item.group.blocks[index] * kBlockSlots); };
  for (int index = first_tile; index < end_tile; ++index) {
    body(index * kTileKeys, page(index), index + 1 < end_tile ? page(index + 1) : nullptr);
  }
}

// Slots [num_hidden, num_keys) of a page, as floats in the item's room; zeros before them.
HWY_INLINE void DecodeKeys(const RangeItem& item, const std::byte* page, int num_hidden, int num_keys) {
  const LatentPages& pages = item.call.pages;
  std::fill_n(item.keys, num_hidden * item.key_stride(), 0.0f);
  for (int key = num_hidden; key < num_keys; ++key) {
    ReadSlot(pages, page + static_cast<size_t>(key) * pages.slot_bytes(), item.keys + key * item.key_stride());
  }
}

// A tile of an item: keys as floats, [keys that the group's last token sees][key_stride].
struct Tile {
  int first_key = 0;
  const float* keys = nullptr;
  const std::byte* next = nullptr;  // the page behind, prefetched
};

// Keys [begin, end) of a tile.
struct SharedKeys {
  int begin = 0;
  int end = 0;
};

// results[row] += Σ weight · latent, for the rows that see a key of the tile. The `shared` keys, which they all see, go
// first, all rows together; then each token's keys beyond them, which keeps every row's keys in ascending order and a
// row away from keys that it does not see. weights is [row][kTileKeys].
HWY_INLINE void AddLatents(const RangeItem& item, const Tile& tile, SharedKeys shared, const float* weights) {
  const float* x[kItemRows];
  const Tensor& results = item.call.scratch.partial().latents;
  const auto stride = static_cast<size_t>(item.key_stride());
  const auto results_stride = static_cast<size_t>(results.stride);
  const int first_token = item.FirstToken(tile.first_key), first_row = first_token * item.num_heads;
  for (int row = first_row; row < item.num_rows(); ++row) x[row] = weights + row * kTileKeys + shared.begin;
  Strip strip{.values = tile.keys + static_cast<size_t>(shared.begin) * stride,
              .stride = stride,
              .width = results.width,
              .count = shared.end - shared.begin};
  strip.next = tile.next;
  strip.next_bytes = item.call.pages.block_bytes();
  if (strip.count > 0) {
    StripProduct(strip, x + first_row, item.num_rows() - first_row, item.latents(first_row), results_stride,
                 item.call.arithmetic());
  }
  strip.values = tile.keys + static_cast<size_t>(shared.end) * stride;
  strip.next = nullptr;
  for (int token = first_token; token < item.group.num_tokens; ++token) {
    strip.count = item.Visible(token, tile.first_key) - shared.end;
    if (strip.count == 0) continue;
    const int row = token * item.num_heads;
    for (int i = row; i < row + item.num_heads; ++i) x[i] = weights + i * kTileKeys + shared.end;
    StripProduct(strip, x + row, item.num_heads, item.latents(row), results_stride, item.call.arithmetic());
  }
}

// An item's partial results, from no key to all that its tokens see of the range.
void AttendRange32(const RangeItem& item);
void AttendRange16(const RangeItem& item);

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
