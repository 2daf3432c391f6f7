// A StepExecutor whose cache remembers in each slot which token after which others was written there, and by whom. A
// row that would read anything else than its own prefix, read what was not meant for it, write where another table
// reads, exceed a budget or belong to a sequence that has ended breaks a rule at once. What a step gives and drafts is
// decided at its Launch, so a Collect may come as late as it likes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/scheduler.h"
#include "engine/step/step_executor.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/drafter.h"
#include "tests/simulation/launched_row.h"
#include "tests/simulation/life.h"

namespace latentd::simulation {

class SimulatedExecutor final : public StepExecutor {
 public:
  // All must outlive it.
  SimulatedExecutor(const Scenario& scenario, Lives& lives, const VirtualClock& clock, Coverage& coverage);

  // Tells, before the first Launch, whose table is whose: rows name no sequence. Must outlive it, too.
  void Follow(const Scheduler& scheduler) { scheduler_ = &scheduler; }

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override { return results_; }
  std::span<const Drafts> drafts() const override { return drafter_.drafts(); }

  // Once the step is counted: what it drafted stands behind its sequences' tokens.
  void TakeDrafts();
  // Between two steps: the full blocks that a sequence has made findable hold tokens of its own, which stay.
  void CheckPublished() const;

  // While its step is in flight: no block of any of its tables may be free.
  void CheckHeld(const BlockCache& cache) const;

  // Whose first slot was written for others, too.
  int NumShareableBlocks() const;

  // State of the last Launch, until Clear.
  const std::vector<LaunchedRow>& rows() const { return rows_; }
  int num_tokens() const { return num_tokens_; }
  void Clear();

 private:
  struct Slot {
    uint64_t prefix = 0;  // of the token and all before it, fake_model.h; 0: nothing, or nothing that may be read
    int position = -1;
    int32_t writer = -1;  // the number of a request
  };

  void CheckBudget(const BatchInputs& batch) const;
  void FindWriters();
  void Copy(const BatchInputs& batch);
  LaunchedRow RowOf(const BatchInputs& batch, const BatchRow& row);
  void CheckTable(const BatchInputs& batch, const BatchRow& row, const Sequence& sequence);
  void CheckTurn(const LaunchedRow& row);
  void CheckStart(const LaunchedRow& row) const;
  void CheckContext(const BatchInputs& batch, const BatchRow& row, const SequenceLife& sequence);
  bool MayRead(const SequenceLife& reader, const Slot& slot, int position) const;
  void Store(const BatchInputs& batch, size_t row_index);
  void StoreToken(const LaunchedRow& row, const TokenState& state, Slot& slot);
  Slot& SlotOf(const BatchInputs& batch, const BatchRow& row, int position);
  void CheckDraw(const SampleRow& sample, int position, const LaunchedRow& row) const;
  SampleResult Sample(const BatchInputs& batch, size_t logit, const SampleRow& sample);
  bool IsFinite(const SequenceLife& sequence, const TokenState& state) const;
  void Judge(LaunchedRow& row);
  void Spoil(const BatchInputs& batch, size_t row_index);

  const SchedulerOptions& options_;
  Lives& lives_;
  const VirtualClock& clock_;
  Coverage& coverage_;
  const Scheduler* scheduler_ = nullptr;
  std::vector<Slot> slots_;
  std::vector<const Sequence*> writers_;  // [blocks] of the step
  std::vector<uint64_t> used_in_step_;    // [blocks] the last step that had it in a table
  std::vector<uint64_t> copied_in_step_;  // [blocks] the last step that copied into it
  uint64_t num_steps_ = 0;
  Drafter drafter_;
  std::vector<SampleResult> results_;
  std::vector<LaunchedRow> rows_;
  std::vector<TokenState> states_;  // [tokens]
  int num_tokens_ = 0;
};

}  // namespace latentd::simulation
