// How AttendLatent cuts a step to the scratch memory that is reserved for it once, and which attention shapes it knows.
// Plain arithmetic on shapes: nothing here depends on a position, a length or a block.
#pragma once

#include <cstddef>

#include <absl/status/status.h>

#include "kernels/tensor.h"

namespace latentd::cuda {

inline constexpr int kTileKeys = kBlockSlots;  // keys of one step of the streaming softmax: one page
inline constexpr int kRangeKeys = 512;         // keys of one partial result
inline constexpr int kTileHeads = 16;          // heads of one block
inline constexpr int kMaxLatentWidth = 512;    // 128 columns of accumulators for each pair of warps
inline constexpr int kMaxKeyWidth = 704;       // two pages and the queries in 227 KiB of shared memory
static_assert(kRangeKeys % kTileKeys == 0);

constexpr int NumRanges(int num_keys) { return (num_keys + kRangeKeys - 1) / kRangeKeys; }
constexpr int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

absl::Status SupportsAttention(const AttentionShape& shape);

// The scratch memory's parts. A wave is up to 128 tokens, fewer where their ranges do not fit; its results are
//   queries   [tokens][heads][key_stride] bf16, twice: what bf16 keeps of [q̃; q_r], and of the rest
//   latents   [tokens][ranges][heads][latent_stride] fp32: Σ p c of a range; at last range 0 holds the softmax's mean
//   maxima, sums   [tokens][ranges][heads] fp32: of the scores in base 2, and Σ p
struct AttendPlan {
  static constexpr size_t kMaxBytes = size_t{256} << 20;  // more only where one token's ranges need it
  static constexpr int kMaxWaveTokens = 128;              // fill a GPU from 16 heads on

  AttendPlan() = default;
  AttendPlan(const AttentionShape& shape, int max_tokens, int max_context);

  int WaveTokens(int num_ranges) const;  // at least 1

  size_t query_plane_bytes() const;
  size_t latent_bytes() const;
  size_t statistic_bytes() const;  // of maxima, and of sums
  size_t bytes() const { return 2 * query_plane_bytes() + latent_bytes() + 2 * statistic_bytes(); }

  int num_heads = 0;
  int key_stride = 0;     // latent_width + rope_width to whole chunks of 8
  int latent_stride = 0;  // latent_width to whole tiles of 16
  int max_ranges = 0;     // of a token
  int max_tokens = 0;     // of a wave
  int max_pairs = 0;      // of a token of the wave and a range
};

}  // namespace latentd::cuda
