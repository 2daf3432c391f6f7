// Sequences as the order sees them, without a scheduler.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "engine/schedule/rank.h"
#include "engine/schedule/tenants.h"

namespace latentd {

inline TimePoint At(double seconds) { return TimePoint(FromSeconds(1000.0 + seconds)); }

struct StandingParts {
  int priority = 0;
  double received = 0.0;  // seconds, as At counts them
  uint64_t arrival = 0;
  int64_t prompt_tokens = 0;
  TimePoint due = kNever;
};
inline constexpr double kTokensPerSecond = 100.0;

inline Standing MakeStanding(Tenant& tenant, const StandingParts& parts) {
  Standing standing{
      .tenant = &tenant, .priority = parts.priority, .received = At(parts.received), .arrival = parts.arrival};
  standing.SetStarts({.prompt_tokens = parts.prompt_tokens, .tokens_per_second = kTokensPerSecond, .due = parts.due});
  return standing;
}

// Tenants a, b and c with weights 1, 1 and 2.
inline TenantRules ThreeTenants() { return {.listed = {{"a", {}}, {"b", {}}, {"c", {.weight = 2.0}}}}; }

}  // namespace latentd
