// An item of AttendLatent under a32: inputs are fp32, a tile that is stored as floats is read where it lies.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attend32.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/attend-inl.h"
#include "kernels/cpu/attend_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// The visible keys of a page, as floats.
HWY_INLINE const float* Keys(const RangeItem& item, const std::byte* page, int num_hidden, int num_keys) {
  const LatentPages& pages = item.call.pages;
  if (pages.format == LatentFormat::kF32) return reinterpret_cast<const float*>(page);
  DecodeKeys(item, page, num_hidden, num_keys);
  return item.keys;
}

void AttendTile(const RangeItem& item, int first_key, const std::byte* page, const std::byte* next, float* weights) {
  const AttentionScratch& scratch = item.call.scratch;
  const int first_token = item.FirstToken(first_key), first_row = first_token * item.num_heads;
  const int num_hidden = item.Hidden(first_key), num_keys = item.Visible(item.group.num_tokens - 1, first_key);
  const float* tile = Keys(item, page, num_hidden, num_keys);
  ScoreTile(item.queries + first_row, item.num_rows() - first_row, tile, static_cast<size_t>(item.key_stride()),
            item.key_stride(), num_keys, weights + first_row * kTileKeys);
  for (int row = first_row; row < item.num_rows(); ++row) {
    const size_t result = item.first_row + static_cast<size_t>(row);
    SoftmaxTile(weights + row * kTileKeys, num_hidden, item.Visible(row / item.num_heads, first_key), item.call.scale,
                scratch.partial().max[result], scratch.partial().sum[result], item.latents(row),
                scratch.partial().latents.width);
  }
  AddLatents(item, {.first_key = first_key, .keys = tile, .next = next},
             {num_hidden, item.Visible(first_token, first_key)}, weights);
}

void AttendRange32(const RangeItem& item) {
  HWY_ALIGN float weights[kItemRows * kTileKeys];
  ClearResults(item);
  ForEachTile(item, [&](int first_key, const std::byte* page, const std::byte* next)
                        HWY_ATTR { AttendTile(item, first_key, page, next, weights); });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
