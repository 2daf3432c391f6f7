// What the operator grants to those who share the engine, by name. A value: made at the start, constant afterwards.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "engine/request.h"

namespace latentd {

inline constexpr int64_t kNoQuota = std::numeric_limits<int64_t>::max();

struct TenantRule {
  double weight = 1.0;                     // of its share of the engine's time
  int max_priority = kHighestPriority;     // what is above counts as this
  int64_t max_queued_requests = kNoQuota;  // that have not had a first step
  int64_t max_queued_tokens = kNoQuota;    // of their prompts
  bool operator==(const TenantRule&) const = default;
};

struct TenantRules {
  TenantRule of_others = {};  // of each name that is not listed, and of requests without one
  std::map<std::string, TenantRule, std::less<>> listed = {};  // no name is empty

  const TenantRule& Of(std::string_view name) const {
    const auto found = listed.find(name);
    return found == listed.end() ? of_others : found->second;
  }
  bool operator==(const TenantRules&) const = default;
};

}  // namespace latentd
