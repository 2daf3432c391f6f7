// A recorded load to be replayed: one JSON object per line as Mooncake publishes its traces, with "timestamp" (ms),
// "input_length", "output_length" (tokens) and "hash_ids", each of which names a block of the prompt: prompts with the
// same first ids begin with the same tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

inline constexpr uint32_t kTraceBlockTokens = 512;  // of a hash id, as published

struct TraceEntry {
  double seconds = 0.0;  // from the first entry
  uint32_t input_tokens = 0;
  uint32_t output_tokens = 0;
  std::vector<uint64_t> block_ids;
};

// Entries by time. `block_tokens` is what a hash id stands for in the replay: lengths shrink with it, to at least 1.
// `name` stands in messages together with the line's number. Blank lines are passed over.
absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view contents, std::string_view name,
                                                   uint32_t block_tokens);

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& file, uint32_t block_tokens);

}  // namespace latentd
