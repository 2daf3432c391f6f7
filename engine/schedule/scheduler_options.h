// The choices that a Scheduler is made with.
#pragma once

#include <cstddef>

#include "engine/schedule/block_cache.h"
#include "engine/schedule/tenant_rules.h"

namespace latentd {

// By default a step has room for a token, and for the logits, of each of its rows. Where it has less, rows wait for the
// next step.
inline constexpr int kDefaultStepTokens = 512, kDefaultStepRows = 64;
static_assert(kDefaultStepRows <= kDefaultStepTokens);

enum class PrefixCacheMode : uint8_t { kOff, kOn };

struct SchedulerOptions {
  BlockCacheOptions cache = {};
  PrefixCacheMode prefix_cache = PrefixCacheMode::kOn;
  int max_step_tokens = kDefaultStepTokens;
  int max_step_rows = kDefaultStepRows;
  int max_step_logits = kDefaultStepRows;
  int max_started = 1 << 30;            // sequences that have begun: running, paused, preempted
  int chunk_tokens = 0;                 // most tokens of one sequence in a step; 0: as many as the step has left
  int max_drafts = 0;                   // of one sequence in a step; 0: the model drafts nothing
  int max_context_tokens = 0;           // prompt and output together
  double slow_consumer_seconds = 30.0;  // a sequence paused for so long ends
  double ageing_seconds = 10.0;         // of waiting are worth one class of priority
  TenantRules tenants = {};
  size_t num_kv_events = 64;   // that readers can catch up with
  size_t num_recorded = 1024;  // decisions that the flight recorder keeps: a power of two
};

}  // namespace latentd
