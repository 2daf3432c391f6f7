#include "kernels/cpu/attention_scratch.h"

#include <algorithm>
#include <utility>

#include <absl/status/statusor.h>

#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_inputs.h"

namespace latentd::cpu {
namespace {

constexpr int WholeVectors(int width) { return (width + 15) / 16 * 16; }

size_t ResultBytes(int width) { return sizeof(float) * (static_cast<size_t>(width) + 2); }

// Takes the memory of `rows` results from `memory` on and moves it past them.
AttentionScratch::Results TakeResults(int rows, int width, float*& memory) {
  AttentionScratch::Results results{.latents = {memory, rows, width, width}};
  memory += static_cast<size_t>(rows) * static_cast<size_t>(width);
  results.max = std::exchange(memory, memory + WholeVectors(rows));
  results.sum = std::exchange(memory, memory + WholeVectors(rows));
  return results;
}

}  // namespace

absl::Status AttentionScratch::Reserve(Device& device, const StepLimits& limits, int num_threads) {
  const AttentionShape& shape = limits.attention;
  const int key_width = WholeVectors(shape.latent_width + shape.rope_width);
  const int latent_width = WholeVectors(shape.latent_width);
  const auto heads = static_cast<size_t>(shape.num_heads);
  const size_t query_bytes = sizeof(float) * static_cast<size_t>(key_width);
  const size_t token_bytes = heads * (query_bytes + ResultBytes(latent_width));

  // Half for the tokens, half for partial results. A round holds one range of a whole group at least.
  size_t tokens = kMaxBytes / 2 / token_bytes;
  if (tokens > kGroupTokens) tokens = tokens / kGroupTokens * kGroupTokens;
  tokens = std::clamp(tokens, size_t{1}, static_cast<size_t>(limits.max_tokens));
  const size_t least = std::min<size_t>(kGroupTokens, tokens) * heads;
  const size_t most = tokens * heads * static_cast<size_t>((limits.max_context + kRangeKeys - 1) / kRangeKeys);
  const size_t partial_rows = std::max(least, std::min(most, kMaxBytes / 2 / ResultBytes(latent_width)));

  const size_t rows = tokens * heads;
  constexpr size_t kRounding = 4 * 16 * sizeof(float);
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(rows * (query_bytes + ResultBytes(latent_width)) +
                                                        partial_rows * ResultBytes(latent_width) + kRounding);
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  arithmetic_ = limits.activations == ActivationFormat::kBf16 ? Arithmetic::kA16 : Arithmetic::kA32;
  tile_product_ = TilesFor(limits);
  num_heads_ = shape.num_heads;
  max_wave_tokens_ = static_cast<int>(tokens);
  auto* next = memory_.As<float>();
  queries_ = {next, static_cast<int>(rows), key_width, key_width};
  next += rows * static_cast<size_t>(key_width);
  running_ = TakeResults(static_cast<int>(rows), latent_width, next);
  partial_ = TakeResults(static_cast<int>(partial_rows), latent_width, next);
  groups_.reserve(tokens);
  stretches_.reserve(tokens);
  const auto threads = static_cast<size_t>(num_threads);
  if (limits.latents != LatentFormat::kF32) {
    absl::StatusOr<DeviceBuffer> keys = device.Allocate(threads * static_cast<size_t>(kTileKeys) * query_bytes);
    if (!keys.ok()) return keys.status();
    keys_ = *std::move(keys);
  }
  if (arithmetic_ == Arithmetic::kA16) {
    product_width_ = WholeVectors(std::max(shape.nope_width, shape.latent_width));
    room_floats_ = static_cast<size_t>(std::max(kItemRows * key_width, kMaxProductRows * product_width_));
    absl::StatusOr<DeviceBuffer> rooms = device.Allocate(threads * room_floats_ * sizeof(float));
    if (!rooms.ok()) return rooms.status();
    rooms_ = *std::move(rooms);
  }
  return absl::OkStatus();
}

int AttentionScratch::PlanWave(const Batch& batch, int token) {
  first_token_ = token;
  groups_.clear();
  next_group_ = 0;
  next_range_ = 0;
  const int wave_end = std::min(batch.num_tokens(), token + max_wave_tokens_);
  for (const BatchRow& row : batch.rows) {
    const int end = std::min(wave_end, row.first_token + row.num_tokens);
    for (int first = std::max(token, row.first_token); first < end; first += kGroupTokens) {
      groups_.push_back({.blocks = batch.blocks.data() + row.first_block,
                         .first_token = first,
                         .num_tokens = std::min(kGroupTokens, end - first),
                         .first_position = row.first_position + first - row.first_token});
    }
  }
  num_tokens_ = wave_end - token;
  return wave_end;
}

bool AttentionScratch::PlanRound() {
  stretches_.clear();
  size_t free_rows = static_cast<size_t>(partial_.latents.rows);
  size_t first_row = 0;
  while (next_group_ < groups_.size()) {
    const TokenGroup& group = groups_[next_group_];
    const size_t range_rows = static_cast<size_t>(group.num_tokens) * static_cast<size_t>(num_heads_);
    const int count = std::min(group.num_ranges() - next_range_, static_cast<int>(free_rows / range_rows));
    if (count == 0) break;
    stretches_.push_back(
        {.group = group, .first_range = next_range_, .end_range = next_range_ + count, .first_row = first_row});
    first_row += range_rows * static_cast<size_t>(count);
    free_rows -= range_rows * static_cast<size_t>(count);
    next_range_ += count;
    if (next_range_ < group.num_ranges()) break;
    ++next_group_;
    next_range_ = 0;
  }
  return !stretches_.empty();
}

}  // namespace latentd::cpu
