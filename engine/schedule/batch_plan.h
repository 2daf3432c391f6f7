// What one step computes: a value from Scheduler::Plan to the batch builder and back to Commit.
#pragma once

#include <vector>

#include "engine/schedule/block_cache.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/wait_reason.h"

namespace latentd {

// A sequence's share of the step. Its sequence's table already covers all its positions, and the sequence stays where
// it is until the plan is committed, whatever ends it meanwhile.
struct PlannedRow {
  Sequence* sequence = nullptr;
  int first_position = 0;
  int num_tokens = 0;
  int first_logit_position = 0;  // logits are wanted at num_logits positions from here on
  int num_logits = 0;
  bool is_finite = true;  // once it was computed: else what it computed is not stored

  int end_position() const { return first_position + num_tokens; }
};

struct BatchPlan {
  std::vector<BlockCopy> copies;  // done in this order, before the rows
  std::vector<PlannedRow> rows;
  int num_tokens = 0;
  int num_logits = 0;
  int num_started = 0;          // rows of requests that never ran before
  double work = 0.0;            // as StepAllowance measures it
  double work_of_decode = 0.0;  // the part of rows with one token to compute
  WaitCounts waits{};           // sequences that wait on, by what the first of them lacked

  bool has_prompt() const { return work > work_of_decode; }  // while prompts are dealt out

  void Clear() {
    copies.clear();
    rows.clear();
    num_tokens = num_logits = num_started = 0;
    work = work_of_decode = 0.0;
    waits = {};
  }
};

}  // namespace latentd
