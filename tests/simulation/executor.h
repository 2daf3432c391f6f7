// A StepExecutor whose cache remembers in each slot whose token at which position was written there. A row that would
// read anything else, write where another row reads, exceed a budget or belong to a request that has ended breaks a
// rule at once. What a step gives is decided at its Launch, so a Collect may come as late as it likes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/scheduler.h"
#include "engine/step/step_executor.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/life.h"

namespace latentd::simulation {

struct LaunchedRow {
  Life* life = nullptr;
  int first_position = 0;
  int num_tokens = 0;
  int num_logits = 0;
  bool is_finite = true;
};

class SimulatedExecutor final : public StepExecutor {
 public:
  // All must outlive it.
  SimulatedExecutor(const SchedulerOptions& options, Lives& lives, const VirtualClock& clock);

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples) override;
  std::span<SampleResult> Collect() override { return results_; }

  // While its step is in flight: no block of any of its tables may be free.
  void CheckHeld(const BlockPool& pool) const;

  // State of the last Launch, until Clear.
  const std::vector<LaunchedRow>& rows() const { return rows_; }
  int num_tokens() const { return num_tokens_; }
  void Clear();

 private:
  struct Slot {
    int32_t first_of_prompt = -1;  // names the request
    int32_t token = -1;
    int position = -1;
    uint64_t prefix = 0;
  };

  void CheckBudget(const BatchInputs& batch) const;
  Life& OwnerOf(const BatchInputs& batch, const BatchRow& row);
  void CheckTurn(const Life& life, const BatchRow& row);
  void ClaimBlocks(const BatchInputs& batch, const BatchRow& row);
  void CheckContext(const BatchInputs& batch, const BatchRow& row, const Life& life);
  void Store(const BatchInputs& batch, const BatchRow& row, const Life& life);
  Slot& SlotOf(const BatchInputs& batch, const BatchRow& row, int position);
  void CheckDraw(const SampleRow& sample, int position, const Life& life) const;
  SampleResult Sample(const BatchInputs& batch, size_t logit, const SampleRow& sample);

  const SchedulerOptions& options_;
  Lives& lives_;
  const VirtualClock& clock_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> used_in_step_;  // [blocks] the last step that had it in a table
  uint64_t num_steps_ = 0;
  uint64_t last_started_ = 0;       // the order of the request that started last
  std::vector<uint64_t> prefixes_;  // [tokens] of the step
  std::vector<SampleResult> results_;
  std::vector<LaunchedRow> rows_;
  int num_tokens_ = 0;
};

}  // namespace latentd::simulation
