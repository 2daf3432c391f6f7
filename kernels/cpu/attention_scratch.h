// The memory of AttendLatent and AppendLatent beside their arguments, reserved once and bounded: a step with more
// tokens than fit runs in waves, a wave with more partial results than fit in rounds. Owned by CpuOps; engine thread
// plans, the pool computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <absl/status/status.h>

#include "kernels/batch.h"
#include "kernels/cpu/pack_lines.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd::cpu {

inline constexpr int kTileKeys = kBlockSlots;  // keys of one step of the streaming softmax
inline constexpr int kRangeKeys = 512;         // keys of one partial result
inline constexpr int kGroupTokens = 16;        // tokens of a row that share a tile while it is in L2
inline constexpr int kSliceHeads = 16;         // heads of one item
inline constexpr int kItemRows = kGroupTokens * kSliceHeads;
static_assert(kRangeKeys % kTileKeys == 0);
static_assert(kTileKeys % kGroupInputs == 0);

// Consecutive tokens of one batch row.
struct TokenGroup {
  const int32_t* blocks = nullptr;
  int first_token = 0;  // in the step
  int num_tokens = 0;
  int first_position = 0;
  int first_key = 0;  // the row's

  // Ranges with keys that a token sees.
  int first_range() const { return first_key / kRangeKeys; }
  int end_range() const { return (first_position + num_tokens - 1) / kRangeKeys + 1; }
};

// One round's share of a group: all heads of its tokens over ranges [first_range, end_range). Its partial results lie
// in rows [range][slice][token][head of the slice] from first_row on.
struct RangeStretch {
  TokenGroup group;
  int first_range = 0;
  int end_range = 0;
  size_t first_row = 0;
};

class AttentionScratch {
 public:
  // Largest total of absorbed queries, running results and partial results; more only where a single group needs it.
  static constexpr size_t kMaxBytes = size_t{64} << 20;

  absl::Status Reserve(Device& device, const StepLimits& limits, int num_threads);

  // What the queries and latents of a call are multiplied as.
  Arithmetic arithmetic() const { return arithmetic_; }
  // For products with W_UK and W_UV; null: vectors alone.
  TileProduct tile_product() const { return tile_product_; }

  // Cuts the next wave off the batch, starting at `token`. Returns the token behind it.
  int PlanWave(const Batch& batch, int token);
  // The next round of the wave; false when all ranges are done.
  bool PlanRound();
  std::span<const RangeStretch> stretches() const { return stretches_; }

  int first_token() const { return first_token_; }
  int num_tokens() const { return num_tokens_; }

  // Absorbed queries [q̃; q_r; zeros], later the merged latents: row token · num_heads + head, token of the wave.
  const Tensor& queries() const { return queries_; }
  // Running results of the wave's tokens and the round's partial results: unnormalised Σ p c, maximum and sum.
  struct Results {
    Tensor latents;  // [rows, latent width to whole vectors]
    float* max = nullptr;
    float* sum = nullptr;
  };
  const Results& running() const { return running_; }
  const Results& partial() const { return partial_; }

  // Under a16, a thread's own room: for an item's queries as strips; before and after that for the rows of a product of
  // W_UK or W_UV, as floats or as tiles.
  float* strips(int thread) const { return rooms_.As<float>() + static_cast<size_t>(thread) * room_floats_; }
  float* product_row(int thread, int row) const { return strips(thread) + row * product_width_; }
  uint16_t* product_tiles(int thread) const { return reinterpret_cast<uint16_t*>(strips(thread)); }
  // Room for the keys of a tile as floats, as wide as a query; a thread's own. Null where the cache holds floats.
  float* keys(int thread) const {
    if (keys_.bytes() == 0) return nullptr;
    return keys_.As<float>() + static_cast<size_t>(thread * kTileKeys) * static_cast<size_t>(queries_.width);
  }

 private:
  Arithmetic arithmetic_ = Arithmetic::kA32;
  TileProduct tile_product_ = nullptr;
  int num_heads_ = 0;
  int max_wave_tokens_ = 0;
  DeviceBuffer memory_;
  DeviceBuffer keys_;
  DeviceBuffer rooms_;
  size_t room_floats_ = 0;  // of a thread
  int product_width_ = 0;
  Tensor queries_;
  Results running_;
  Results partial_;

  // The wave.
  int first_token_ = 0;
  int num_tokens_ = 0;
  std::vector<TokenGroup> groups_;
  size_t next_group_ = 0;
  int next_range_ = 0;
  std::vector<RangeStretch> stretches_;  // the round
};

}  // namespace latentd::cpu
