// Whether a request can ever run: judged here alone, by FindMisfit. The server tells its clients what that finds
// before it admits a request; EngineThread, where it takes one in, and the Scheduler, where one is added, refuse with
// CheckFits, which puts the same into words of the engine. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>

#include <absl/status/status.h>

#include "engine/request.h"

namespace latentd {

struct Capacity {
  int max_context_tokens = 0;  // prompt and output together
  int num_blocks = 0;          // that sequences can hold, UsableBlocks
};

// The most that one of a request's sequences ever holds: with so much room they can run one after the other.
struct CapacityDemand {
  int tokens = 0;  // prompt and output together
  int blocks = 0;
};

// `request` still has its prompt.
CapacityDemand DemandOf(const Request& request, const Capacity& capacity);

// Why a request can never run.
struct Misfit {
  enum class Kind : uint8_t {
    kNoPrompt,
    kContext,   // prompt and answer have more tokens than it holds
    kNoOutput,  // Generate without a token to generate
    kBlocks,    // of the cache
  };
  Kind kind;
  int64_t needed = 0;  // tokens or blocks
  int64_t limit = 0;
};

// The first that is found, in the order of the enum; nothing where the request can run. At least `least_output` tokens
// are to follow the prompt: 0 for Score; for Generate 1, or what a front end promised its client.
std::optional<Misfit> FindMisfit(const Request& request, const Capacity& capacity, int least_output);

// INVALID_ARGUMENT or FAILED_PRECONDITION where the request can never run.
absl::Status CheckFits(const Request& request, const Capacity& capacity);

}  // namespace latentd
