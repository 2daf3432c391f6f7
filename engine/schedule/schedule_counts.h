// By what the scheduler counts: the vocabulary of its metrics.
#pragma once

#include <array>
#include <cstdint>

#include "engine/request.h"

namespace latentd {

// Why a running sequence lost its blocks: none was left for one of a higher rank, or one of a higher priority waited
// for its place.
enum class PreemptionReason : uint8_t { kBlocks, kPriority };
inline constexpr int kNumPreemptionReasons = 2;
using PreemptionCounts = std::array<uint64_t, kNumPreemptionReasons>;

// Why prompt tokens that the prefix cache knows, or knew, did not come from it: they fill a block in part, and no other
// one was left to copy them to; their block was evicted; they are another salt's.
enum class PrefixLoss : uint8_t { kGranularity, kEviction, kSalt };
inline constexpr int kNumPrefixLosses = 3;
using PrefixLossCounts = std::array<uint64_t, kNumPrefixLosses>;

// By priority, from kLowestPriority up.
inline constexpr int kNumPriorities = kHighestPriority - kLowestPriority + 1;
using PriorityCounts = std::array<int64_t, kNumPriorities>;

}  // namespace latentd
