// The layer that predicts further tokens (docs/spec/deepseek.md 3.7) in a simulation: the product's own passes over
// slots that remember what each was written from. A pass that would read a slot which no state of the main model
// was written to for its own sequence's tokens, write into what is another's, or draw by another rule than its row's
// breaks a rule at once. What it drafts is right as often as its rule says.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/scheduler.h"
#include "engine/step/draft_batch.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/launched_row.h"
#include "tests/simulation/workload.h"

namespace latentd::simulation {

// A step whose draws are known. Borrowed for a call.
struct DrawnStep {
  const BatchInputs& batch;
  std::span<const DraftRow> drafts;
  std::span<const SampleResult> results;
  std::span<LaunchedRow> rows;
  std::span<const TokenState> states;        // [tokens]
  std::span<const Sequence* const> writers;  // [blocks] who alone holds it; null: none does
};

class Drafter {
 public:
  // All must outlive it.
  Drafter(const SchedulerOptions& options, const DrafterRule& rule, Coverage& coverage);

  void Copy(const SlotCopy& copy);
  void Run(const DrawnStep& step);
  // What was written there is wrong.
  void Spoil(size_t slot) {
    if (slot < slots_.size()) slots_[slot].position = -1;
  }

  // From the last Run, one entry per DraftRow.
  std::span<const Drafts> drafts() const { return batch_.drafts(); }

 private:
  struct Slot {
    uint64_t before = 0;  // of all tokens before it
    uint64_t prefix = 0;  // of them and its own
    int position = -1;
    bool is_drafted = false;  // made from the layer's own state: not to be read behind the step
    uint64_t step = 0;
  };

  void CheckRow(const DrawnStep& step, const DraftRow& draft);
  void CheckAgain(const DrawnStep& step) const;
  void RunPass(const DrawnStep& step);
  void Store(const DrawnStep& step, size_t token);
  void CheckWindow(const DrawnStep& step, const BatchRow& pass_row) const;
  void CheckDraw(const LaunchedRow& row, const TokenState& state, const SampleRow& sample) const;
  SampleResult Sample(const LaunchedRow& row, const TokenState& state, const SampleRow& sample) const;
  double accuracy() const;

  const SchedulerOptions& options_;
  const DrafterRule& rule_;
  Coverage& coverage_;
  std::vector<Slot> slots_;
  uint64_t num_steps_ = 0;

  DraftBatch batch_;
  std::vector<TokenState> hidden_;  // that the pass at hand starts from
  std::vector<TokenState> states_;  // [tokens] of the pass
  std::vector<SampleResult> draws_;
};

}  // namespace latentd::simulation
