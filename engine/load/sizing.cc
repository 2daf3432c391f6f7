#include "engine/load/sizing.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "engine/schedule/block_id.h"

namespace latentd {
namespace {

constexpr int kMostStepTokens = 512;  // the products of larger steps are no faster
constexpr int kLeastStepTokens = 64;
constexpr int kLeastStepLogits = 64;
constexpr int kAutoDraftLogits = 64;
constexpr uint64_t kStepShare = 16;               // a step's activations take at most this part of the memory
constexpr uint64_t kCacheShare = 2;               // and the cache this part of what weights and activations leave
constexpr int64_t kMaxBlocks = int64_t{1} << 24;  // slots are numbered in 32 bits
constexpr double kQueueSeconds = 60.0;
constexpr int64_t kLeastQueuedTokens = 4096;

uint64_t LeftOf(uint64_t bytes, uint64_t taken) { return bytes - std::min(bytes, taken); }

double MiB(uint64_t bytes) { return static_cast<double>(bytes) / 0x1p20; }

}  // namespace

int StepTokens(const LoadOptions& options, const MemoryFacts& memory) {
  if (options.max_step_tokens > 0) return static_cast<int>(options.max_step_tokens);
  int tokens = kMostStepTokens;
  while (tokens > kLeastStepTokens && memory.step_bytes(tokens) > memory.available_bytes / kStepShare) tokens /= 2;
  return tokens;
}

int MostStepLogits(const LoadOptions& options, int max_drafts, int step_tokens) {
  const int rows = static_cast<int>(options.max_rows), least = std::max(rows, kLeastStepLogits);
  if (max_drafts == 0) return least;
  const int wanted = options.speculate == "auto" ? rows + kAutoDraftLogits : rows * (1 + max_drafts);
  return std::max(least, std::min(wanted, step_tokens));
}

absl::StatusOr<CacheSize> CacheBlocks(const LoadOptions& options, const MemoryFacts& memory, int context,
                                      int step_tokens) {
  const uint64_t taken = memory.weight_bytes + memory.step_bytes(step_tokens);
  const uint64_t left = LeftOf(memory.available_bytes, taken);
  const int64_t wanted = options.max_rows * BlocksFor(context) + 1;
  const auto fitting = static_cast<int64_t>(left / kCacheShare / memory.block_bytes);
  int64_t blocks = 0;
  std::string reason;
  if (options.kv_blocks > 0) {
    blocks = options.kv_blocks;
    reason = "kv-blocks";
  } else if (options.kv_bytes > 0) {
    blocks = options.kv_bytes / static_cast<int64_t>(memory.block_bytes);
    reason = "kv-bytes";
  } else if (wanted <= fitting) {
    blocks = wanted;
    reason = absl::StrFormat("max-rows=%d full contexts", options.max_rows);
  } else {
    blocks = fitting;
    reason = absl::StrFormat("half of the %.1f MiB that the weights leave", MiB(left));
  }
  if (blocks < 2 || blocks > kMaxBlocks) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cache: expected 2 to %d blocks of %d bytes, found %d (%.1f MiB available, %.1f MiB for weights and "
        "activations); change --kv-blocks or --kv-bytes, or free memory",
        kMaxBlocks, memory.block_bytes, blocks, MiB(memory.available_bytes), MiB(taken)));
  }
  return CacheSize{.num_blocks = static_cast<int>(blocks), .reason = std::move(reason)};
}

int64_t QueuedTokens(const LoadOptions& options, double tokens_per_second, int context) {
  if (options.max_queued_tokens > 0) return options.max_queued_tokens;
  const int64_t full_queue = options.max_queued_requests * context;
  const auto in_time = static_cast<int64_t>(tokens_per_second * kQueueSeconds);
  return std::min(std::max(in_time, kLeastQueuedTokens), full_queue);
}

std::string Grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

}  // namespace latentd
