// What one step computes: a value from Scheduler::Plan to the batch builder and back to Commit.
#pragma once

#include <optional>
#include <vector>

#include "engine/schedule/block_cache.h"
#include "engine/schedule/finish_reason.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/wait_reason.h"

namespace latentd {

// What the layer that predicts further tokens does behind a row.
struct Following {
  int first_key = 1;   // of that layer: where the sequence's window begins
  int num_drafts = 0;  // to be made behind what the row's last logits give; 0: its tokens are only stored
};

// What a row gave, judged before anything of it is committed.
struct RowVerdict {
  bool is_finite = true;                           // else what it computed is not stored
  int num_accepted = 0;                            // of its drafts: they become the sequence's tokens
  std::optional<FinishReason> end = std::nullopt;  // by the token behind those
};

// A sequence's share of the step. Its sequence's table already covers all its positions, and the sequence stays where
// it is until the plan is committed, whatever ends it meanwhile.
struct PlannedRow {
  Sequence* sequence = nullptr;
  int first_position = 0;
  int num_tokens = 0;
  int first_logit_position = 0;  // logits are wanted at num_logits positions from here on
  int num_logits = 0;
  // Its first tokens whose latents the cache has: they are computed for their hidden states, and store the same bytes
  // in the same slots again, also where others hold these blocks.
  int num_again = 0;
  int num_drafts = 0;  // its last tokens that are the sequence's first drafts
  std::optional<Following> following = std::nullopt;
  RowVerdict verdict = {};  // once it was computed

  int first_new() const { return first_position + num_again; }
  int end_position() const { return first_position + num_tokens; }
  // Where its computed tokens end that the sequence has: rejected drafts are none of them.
  int committed_end() const { return end_position() - num_drafts + verdict.num_accepted; }
};

struct BatchPlan {
  std::vector<BlockCopy> copies;  // done in this order, before the rows
  std::vector<PlannedRow> rows;
  int num_tokens = 0;
  int num_logits = 0;
  int num_started = 0;          // rows of requests that never ran before
  double work = 0.0;            // as StepAllowance measures it
  double work_of_decode = 0.0;  // the part of rows that decode, drafts included
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
