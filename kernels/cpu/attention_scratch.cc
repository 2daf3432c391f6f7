#include "kernels/cpu/attention_scratch.h"

#include <algorithm>
#include <utility>

#include <absl/status/statusor.h>

#include "base/check.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_inputs.h"
#include "kernels/cpu/scratch_bytes.h"

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

struct Sizes {
  int key_width = 0;
  int latent_width = 0;
  int product_width = 0;
  size_t tokens = 0;  // of a wave
  size_t partial_rows = 0;
  size_t room_floats = 0;  // of a thread
  size_t memory_bytes = 0, key_bytes = 0, room_bytes = 0;
};

Arithmetic ArithmeticOf(const StepLimits& limits) {
  return limits.activations == ActivationFormat::kBf16 ? Arithmetic::kA16 : Arithmetic::kA32;
}

Sizes SizesFor(const StepLimits& limits, int num_threads) {
  constexpr size_t kMaxBytes = AttentionScratch::kMaxBytes;
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

  constexpr size_t kRounding = 4 * 16 * sizeof(float);
  const auto threads = static_cast<size_t>(num_threads);
  Sizes sizes = {.key_width = key_width, .latent_width = latent_width, .tokens = tokens, .partial_rows = partial_rows};
  sizes.memory_bytes = tokens * token_bytes + partial_rows * ResultBytes(latent_width) + kRounding;
  if (limits.latents != LatentFormat::kF32) sizes.key_bytes = threads * static_cast<size_t>(kTileKeys) * query_bytes;
  if (ArithmeticOf(limits) == Arithmetic::kA16) {
    sizes.product_width = WholeVectors(std::max(shape.nope_width, shape.latent_width));
    sizes.room_floats = static_cast<size_t>(std::max(kItemRows * key_width, kMaxProductRows * sizes.product_width));
    sizes.room_bytes = threads * sizes.room_floats * sizeof(float);
  }
  return sizes;
}

}  // namespace

size_t AttentionScratchBytes(const StepLimits& limits, int num_threads) {
  const Sizes sizes = SizesFor(limits, num_threads);
  return sizes.memory_bytes + sizes.key_bytes + sizes.room_bytes;
}

absl::Status AttentionScratch::Reserve(Device& device, const StepLimits& limits, int num_threads) {
  const Sizes sizes = SizesFor(limits, num_threads);
  for (const auto& [buffer, bytes] : {std::pair(&memory_, sizes.memory_bytes), std::pair(&keys_, sizes.key_bytes),
                                      std::pair(&rooms_, sizes.room_bytes)}) {
    if (bytes == 0) continue;
    absl::StatusOr<DeviceBuffer> memory = device.Allocate(bytes);
    if (!memory.ok()) return memory.status();
    *buffer = *std::move(memory);
  }
  arithmetic_ = ArithmeticOf(limits);
  tile_product_ = TilesFor(limits);
  num_heads_ = limits.attention.num_heads;
  max_wave_tokens_ = static_cast<int>(sizes.tokens);
  product_width_ = sizes.product_width;
  room_floats_ = sizes.room_floats;
  const size_t rows = sizes.tokens * static_cast<size_t>(num_heads_);
  auto* next = memory_.As<float>();
  queries_ = {next, static_cast<int>(rows), sizes.key_width, sizes.key_width};
  next += rows * static_cast<size_t>(sizes.key_width);
  running_ = TakeResults(static_cast<int>(rows), sizes.latent_width, next);
  partial_ = TakeResults(static_cast<int>(sizes.partial_rows), sizes.latent_width, next);
  groups_.reserve(sizes.tokens);
  stretches_.reserve(sizes.tokens);
  return absl::OkStatus();
}

int AttentionScratch::PlanWave(const Batch& batch, int token) {
  first_token_ = token;
  groups_.clear();
  next_group_ = 0;
  next_range_ = 0;
  const int wave_end = std::min(batch.num_tokens(), token + max_wave_tokens_);
  for (const BatchRow& row : batch.rows) {
    CHECK_LE(row.first_key, row.first_position);
    const int end = std::min(wave_end, row.first_token + row.num_tokens);
    for (int first = std::max(token, row.first_token); first < end; first += kGroupTokens) {
      groups_.push_back({.blocks = batch.blocks.data() + row.first_block,
                         .first_token = first,
                         .num_tokens = std::min(kGroupTokens, end - first),
                         .first_position = row.first_position + first - row.first_token,
                         .first_key = row.first_key});
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
    const int first_range = std::max(next_range_, group.first_range());
    const int count = std::min(group.end_range() - first_range, static_cast<int>(free_rows / range_rows));
    if (count == 0) break;
    stretches_.push_back(
        {.group = group, .first_range = first_range, .end_range = first_range + count, .first_row = first_row});
    first_row += range_rows * static_cast<size_t>(count);
    free_rows -= range_rows * static_cast<size_t>(count);
    next_range_ = first_range + count;
    if (next_range_ < group.end_range()) break;
    ++next_group_;
    next_range_ = 0;
  }
  return !stretches_.empty();
}

}  // namespace latentd::cpu
