// Whether a request can ever run: judged here alone. The server asks before it admits a request, EngineThread where it
// takes one in, the Scheduler where one is added. Pure functions, any thread.
#pragma once

#include <absl/status/status.h>

#include "engine/request.h"

namespace latentd {

struct Capacity {
  int max_context_tokens = 0;  // prompt and output together
  int num_blocks = 0;          // that sequences can hold, UsableBlocks
};

// The most that one request ever holds.
struct CapacityDemand {
  int tokens = 0;  // prompt and output together
  int blocks = 0;
};

// `request` still has its prompt.
CapacityDemand DemandOf(const Request& request, const Capacity& capacity);

// INVALID_ARGUMENT or FAILED_PRECONDITION where the request can never run.
absl::Status CheckFits(const Request& request, const Capacity& capacity);

}  // namespace latentd
