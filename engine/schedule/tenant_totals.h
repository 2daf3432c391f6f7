// What tenants got of the engine, as the metrics tell it: a value.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace latentd {

// Tenants that the configuration does not name count as one, since clients choose their names.
struct TenantTotals {
  std::string name = {};        // empty: those without a name of their own
  double weight = 1.0;          // of its share
  uint64_t service_tokens = 0;  // prompt tokens computed, twice those generated, and drafts rejected
  double recent_service = 0.0;  // of these per weight, those of ten seconds ago counting 1/e
  bool is_active = false;       // has sequences that run or wait
};

// How equal the recent service of the active ones is: Jain's index, (Σx)² / n·Σx², from 1/n to 1; 1 where there are
// fewer than two.
inline double FairnessIndex(std::span<const TenantTotals> tenants) {
  double num_active = 0.0, sum = 0.0, sum_of_squares = 0.0;
  for (const TenantTotals& tenant : tenants) {
    if (!tenant.is_active) continue;
    num_active += 1.0;
    sum += tenant.recent_service;
    sum_of_squares += tenant.recent_service * tenant.recent_service;
  }
  return sum_of_squares > 0.0 ? sum * sum / (num_active * sum_of_squares) : 1.0;
}

}  // namespace latentd
