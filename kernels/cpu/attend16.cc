// An item of AttendLatent under a16: queries, latents and softmax weights are multiplied as bf16 values, in the order
// of the tile unit. Scores: a block of up to 64 queries is a strip [k][query], the tile's keys are its rows. P·V: the
// keys are the strip, the queries' weights its rows. A tile is decoded once for all queries of the item.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attend16.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/attend-inl.h"
#include "kernels/cpu/attend_tile16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// Rows [first_row, first_row + num_rows) of an item. Columns of the strip behind them are zero.
struct RowBlock {
  int first_row = 0;
  int num_rows = 0;
  Strip strip;
};

HWY_INLINE RowBlock BlockOf(const RangeItem& item, int first_row) {
  const int num_rows = std::min(kBlockRows, item.num_rows() - first_row);
  const int columns = (num_rows + kVirtualLanes - 1) / kVirtualLanes * kVirtualLanes, width = item.key_stride();
  return {.first_row = first_row,
          .num_rows = num_rows,
          .strip = {.values = item.strips + static_cast<size_t>(first_row) * static_cast<size_t>(width),
                    .stride = static_cast<size_t>(columns),
                    .width = columns,
                    .count = width}};
}

// Scores of a block become weights, and its rows' maxima, sums and results move on. A row that sees nothing of the tile
// keeps what it has; if it saw nothing of the range before, that is never folded.
HWY_INLINE void SoftmaxBlock(const RangeItem& item, const RowBlock& block, int first_key, int num_keys, float* scores,
                             float* weights) {
  const AttentionScratch::Results& partial = item.call.scratch.partial();
  for (int column = 0; column < block.num_rows; column += kLanes) {
    const int row = block.first_row + column, left = block.num_rows - column;
    const size_t result = item.first_row + static_cast<size_t>(row);
    HWY_ALIGN float lanes[kLanes] = {};
    for (int i = 0; i < std::min(kLanes, left); ++i) {
      lanes[i] = static_cast<float>(item.Visible((row + i) / item.num_heads, first_key));
    }
    const Vec visible = hn::Load(kF32, lanes);
    Vec max = LoadUpTo(partial.max + result, left), sum = LoadUpTo(partial.sum + result, left);
    const Vec factor = SoftmaxColumns(scores + column, block.strip.width, item.Hidden(first_key), num_keys,
                                      item.call.scale, visible, max, sum);
    StoreUpTo(max, partial.max + result, left);
    StoreUpTo(sum, partial.sum + result, left);
    hn::Store(factor, kF32, lanes);
    for (int i = 0; i < std::min(kLanes, left); ++i)
      MultiplyRow(lanes[i], item.latents(row + i), partial.latents.width);
    StoreRows(scores + column, block.strip.width, num_keys, left, weights + row * kTileKeys);
  }
}

void AttendTile16(const RangeItem& item, int first_key, const std::byte* page, const std::byte* next) {
  HWY_ALIGN float scores[kTileKeys * kBlockRows];
  HWY_ALIGN float weights[kItemRows * kTileKeys];
  const int first_token = item.FirstToken(first_key), first_row = first_token * item.num_heads;
  const int num_hidden = item.Hidden(first_key), num_keys = item.Visible(item.group.num_tokens - 1, first_key);
  DecodeKeys(item, page, num_hidden, num_keys);
  for (int row = first_row / kBlockRows * kBlockRows; row < item.num_rows(); row += kBlockRows) {
    const RowBlock block = BlockOf(item, row);
    ScoreStrip(block.strip, item.keys, static_cast<size_t>(item.key_stride()), num_keys, scores);
    SoftmaxBlock(item, block, first_key, num_keys, scores, weights);
  }
  AddLatents(item, {.first_key = first_key, .keys = item.keys, .next = next},
             {WholeGroups(num_hidden), WholeGroups(item.Visible(first_token, first_key))}, weights);
}

void AttendRange16(const RangeItem& item) {
  ClearResults(item);
  for (int row = 0; row < item.num_rows(); row += kBlockRows) {
    const RowBlock block = BlockOf(item, row);
    FillStrip(item.queries + row, block.num_rows, block.strip.count, block.strip.width,
              item.strips + static_cast<size_t>(row) * static_cast<size_t>(block.strip.count));
  }
  ForEachTile(item, [&](int first_key, const std::byte* page, const std::byte* next)
                        HWY_ATTR { AttendTile16(item, first_key, page, next); });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
