// Which drafts a step verifies, and which of its rows the layer follows that predicts further tokens
// (docs/spec/deepseek.md 3.7). Drafts take what the rows' own tokens leave, never a block that others need.
//
// That layer has the slots Sequence::drafted of a sequence. A row goes on with them where they go up to the position
// behind its first one; else there is a hole, and it begins anew behind that. Both are as of the last plan:
// a row in flight counts as done, but for its drafts until they are judged.
//
// Part of the Scheduler; engine thread only. In each plan: NumAgain as rows are dealt out; Deal once those that decode
// have their one token each; Follow once all rows are dealt out. CommitDrafts for each row, before it is published.
#pragma once

#include <absl/status/status.h>

#include "engine/schedule/batch_plan.h"
#include "engine/schedule/block_cache.h"
#include "engine/schedule/flight_recorder.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/step_allowance.h"

namespace latentd {

// What the drafts of a step may take. Its time does not bound them: how many pay is judged before (engine/step's
// Speculation), or the client has said how many.
struct DraftRoom {
  int tokens = 0;
  int logits = 0;
  int blocks = 0;
};

class DraftDealer {
 public:
  // All must outlive it.
  DraftDealer(const SchedulerOptions& options, BlockCache& cache, FlightRecorder& recorder)
      : options_(options), cache_(cache), recorder_(recorder) {}

  // 1 where a row computes the last position before its own ones again, for the hidden state from which the layer goes
  // on: the layer has the slots up to there.
  int NumAgain(const Sequence& sequence, int first_position, const StepAllowance& allowance) const;
  // The rows of the plan, which decode, verify drafts of their sequences: evenly, as far as there is room.
  void Deal(DraftRoom room, const StepAllowance& allowance, BatchPlan& plan);
  // For slots of the layer behind the rows' positions as many blocks may be taken. No more is drafted than a step of
  // these rows can verify.
  void Follow(int num_blocks, const StepAllowance& allowance, BatchPlan& plan);

 private:
  int NumWanted(const Sequence& sequence, const StepAllowance& allowance) const;
  int MostToDraft(const PlannedRow& row, const StepAllowance& allowance) const;
  int MostFor(const PlannedRow& row, const StepAllowance& allowance) const;
  void Verify(PlannedRow& row, int num_drafts, const StepAllowance& allowance, DraftRoom& room, BatchPlan& plan);
  void Extend(Sequence& sequence, int num_blocks, int& num_left);

  const SchedulerOptions& options_;
  BlockCache& cache_;
  FlightRecorder& recorder_;
};

// The row's accepted drafts become its sequence's tokens, all others go.
void CommitDrafts(const PlannedRow& row);

// INTERNAL where the layer's slots of a sequence cannot be where it says.
absl::Status CheckDrafts(const Sequence& sequence, const BlockCache& cache);

}  // namespace latentd
