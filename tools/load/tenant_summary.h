// How the tenants of a load fared beside each other, and how fair that was.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/load/goodput.h"
#include "tools/load/histogram.h"
#include "tools/load/load_options.h"
#include "tools/load/runner.h"

namespace latentd {

struct TenantSummary {
  TenantShare tenant;
  uint64_t sent = 0;
  uint64_t succeeded = 0;
  uint64_t refused = 0;        // RESOURCE_EXHAUSTED
  uint64_t asked_tokens = 0;   // prompts and the most that their answers could have
  uint64_t served_tokens = 0;  // while requests were sent
  Goodput goodput;
  LatencyHistogram time_to_first_token;
  LatencyHistogram end_to_end;
};

// By the order of the options' tenants; empty where none is named.
std::vector<TenantSummary> SummarizeTenants(const RunResult& run, const LoadOptions& options, double window_seconds);

struct Claim {
  double asked = 0.0;  // infinite: always more than it gets
  double served = 0.0;
  double weight = 1.0;
};

// Jain's index, 1 where all got what was fair, of what each was served in proportion to its fair share: all that was
// served, dealt out by weight, where what one does not ask for goes to the others (max-min).
double FairnessIndex(const std::vector<Claim>& claims);

// Judges what they were served while requests competed. In a closed loop each tenant's streams always ask for more.
double FairnessOf(const std::vector<TenantSummary>& tenants, Loop loop);

}  // namespace latentd
