// Turns a BatchPlan into what the kernels read: one step's BatchInputs and how each of its logit rows becomes a token.
// Owned by the Engine; engine thread only. Its buffers are reused, so its results are valid until the next Build.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/batch_plan.h"
#include "engine/step/draft_row.h"
#include "kernels/batch.h"

namespace latentd {

struct VocabularyRules {
  std::vector<int32_t> eos_ids = {};
  std::vector<uint8_t> has_token = {};  // [vocab]: 0 for ids that stand for nothing; empty: all do
};

class BatchBuilder {
 public:
  explicit BatchBuilder(const VocabularyRules& rules) : rules_(rules) {}

  void Build(const BatchPlan& plan);
  const BatchInputs& inputs() const { return inputs_; }
  std::span<const SampleRow> samples() const { return samples_; }
  std::span<const DraftRow> drafts() const { return drafts_; }  // of the plan's rows that are followed, in their order

 private:
  void AddTokens(const PlannedRow& row);
  void AddSamples(const PlannedRow& row);
  void AddDraftRow(const PlannedRow& row);
  SampleRow DrawRow(const Sequence& sequence, int position);
  std::span<const int32_t> BannedIds(const StoppingRule& stopping, int num_generated);
  void ReserveLists(const BatchPlan& plan);

  const VocabularyRules& rules_;
  BatchInputs inputs_;
  std::vector<SampleRow> samples_;
  std::vector<DraftRow> drafts_;
  // What samples_ borrows: reserved before it is filled, so that spans into it stay valid.
  std::vector<int32_t> banned_ids_;
};

}  // namespace latentd
