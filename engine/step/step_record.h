// What one step did, in numbers: made by the Engine when a step is complete, told to the StepReporter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/request.h"
#include "engine/schedule/schedule_counts.h"
#include "engine/schedule/scheduler_totals.h"
#include "engine/schedule/tenants.h"
#include "engine/schedule/wait_reason.h"

namespace latentd {

struct StepRecord {
  TimePoint started{};
  TimePoint finished{};
  std::optional<Duration> model_duration = {};  // where the executor is timed
  StepKind kind = StepKind::kPrefill;
  int num_rows = 0;  // of the forward pass; 0: nothing was computed
  int num_tokens = 0;
  int nonfinite_rows = 0;
  WaitCounts waits{};

  // Drafts that its rows verified, and the accepted ones, by their place in their row.
  std::array<int, kMaxDrafts> drafted_tokens{}, accepted_tokens{};
  int auto_drafts = 0;  // as StepAllowance has it

  // Requests that changed phase, and their prompts' tokens.
  int started_requests = 0;
  int first_tokens = 0;
  std::array<int, kNumPhases> ended_in{};
  int prompt_tokens = 0;  // computed for the first time
  int abandoned_prompt_tokens = 0;

  // A row verified so many drafts, and so many of them were right.
  void CountDrafts(int num_drafts, int num_accepted) {
    for (int i = 0; i < num_drafts; ++i) ++drafted_tokens[static_cast<size_t>(i)];
    for (int i = 0; i < num_accepted; ++i) ++accepted_tokens[static_cast<size_t>(i)];
  }
  int num_ends() const {
    int ends = 0;
    for (const int count : ended_in) ends += count;
    return ends;
  }
};

// How full the scheduler is between two steps.
struct SchedulerLevels {
  int64_t pending_prompt_tokens = 0;
  int free_blocks = 0;
  int active_blocks = 0;
  int cached_blocks = 0;
  int reserved_blocks = 0;
  int total_blocks = 0;
  uint64_t num_evictions = 0;
  SchedulerTotals totals = {};
  PriorityCounts waiting{};  // sequences
  const Tenants* tenants = nullptr;
  bool has_work = false;  // sequences that run or wait
};

}  // namespace latentd
