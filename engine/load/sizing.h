// The sizes of the cache, a step and the queue where the options left them to the loader: pure functions of memory,
// shapes and the measured rate.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"

namespace latentd {

struct MemoryFacts {
  uint64_t available_bytes = 0;  // before anything of the model is loaded
  uint64_t weight_bytes = 0;
  uint64_t block_bytes = 0;                        // of one block of the cache, all layers
  std::function<uint64_t(int tokens)> step_bytes;  // of activations and scratch where steps have so many tokens
};

// Tokens of the largest step: max_step_tokens, or 512 and fewer where activations and scratch would take more than
// a sixteenth of the memory.
int StepTokens(const LoadOptions& options, const MemoryFacts& memory);

// Rows of a step whose logits may be wanted. Drafts have a row of logits each: all that were asked for, and 64 where
// their number is left to the engine, for which more seldom pay; none beyond the step's tokens.
int MostStepLogits(const LoadOptions& options, int max_drafts, int step_tokens);

struct CacheSize {
  int num_blocks = 0;  // the scratch block included
  std::string reason;  // for the log: what bounded it
};
// INVALID_ARGUMENT or RESOURCE_EXHAUSTED where not even one block of tokens fits. `context` is what one request may
// need.
absl::StatusOr<CacheSize> CacheBlocks(const LoadOptions& options, const MemoryFacts& memory, int context,
                                      int step_tokens);

// Prompt tokens that may wait.
int64_t QueuedTokens(const LoadOptions& options, double tokens_per_second, int context);

// "262,208": digits in groups of three.
std::string Grouped(int64_t number);

}  // namespace latentd
