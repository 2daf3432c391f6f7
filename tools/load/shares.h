// "NAME:SHARE" lists of the command line: who sends how much of a load. Shares need not come to 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

struct TenantShare {
  std::string name;
  double share = 1.0;   // of the requests in an open loop, of the streams in a closed one
  double weight = 1.0;  // as the server's --tenants has it; what is fair depends on it
};

// "NAME:SHARE" or "NAME:SHARE:WEIGHT", joined by commas.
absl::StatusOr<std::vector<TenantShare>> ParseTenants(std::string_view text);

struct PriorityShare {
  int32_t priority = 0;
  double share = 1.0;  // of the requests
};

// "PRIORITY:SHARE", joined by commas.
absl::StatusOr<std::vector<PriorityShare>> ParsePriorities(std::string_view text);

// The index of the entry in whose part of all shares `place` from [0, 1) falls.
template <class Share>
size_t PickShare(const std::vector<Share>& shares, double place) {
  double left = 0.0;
  for (const Share& entry : shares) left += entry.share;
  left *= place;
  size_t picked = 0;
  while (picked + 1 < shares.size() && left >= shares[picked].share) left -= shares[picked++].share;
  return picked;
}

}  // namespace latentd
