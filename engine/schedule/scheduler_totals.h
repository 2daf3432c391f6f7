// What a Scheduler has counted since it was made.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/schedule/schedule_counts.h"

namespace latentd {

struct SchedulerTotals {
  uint64_t queried_tokens = 0;     // of prompts that were looked up, each prompt once
  uint64_t hit_tokens = 0;         // of these, found and not computed: never what a preempted sequence finds again
  uint64_t recomputed_tokens = 0;  // computed before, by this sequence or for it
  PrefixLossCounts lost_tokens{};
  PreemptionCounts preemptions{};

  uint64_t& lost(PrefixLoss loss) { return lost_tokens[static_cast<size_t>(loss)]; }
};

}  // namespace latentd
