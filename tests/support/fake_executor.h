// A StepExecutor without a model: the token at a position is a hash of all tokens before it, which it finds only
// through the row's block table, the seed and the sequence's index. So output is a pure function of (prompt, seed,
// index, position) exactly as long as the engine's paging is right; a block shared, lost or overwritten gives other
// tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/step/step_executor.h"

namespace latentd {

struct FakeExecutorOptions {
  int num_blocks = 0;
  int vocab_size = 1000;
  uint64_t nonfinite_seed = 0;  // rows with this seed get non-finite logits; 0: none
  // Called at each Launch, on the engine thread.
  std::function<void(const BatchInputs&, std::span<const SampleRow>)> on_launch = {};
};

class FakeExecutor final : public StepExecutor {
 public:
  explicit FakeExecutor(FakeExecutorOptions options);

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override { return results_; }

 private:
  struct Slot {
    int64_t position = -1;
    uint64_t prefix = 0;  // hash of all tokens up to and including this one
  };

  void Store(const BatchInputs& batch, const BatchRow& row);
  SampleResult Sample(uint64_t prefix, const SampleRow& sample) const;

  const FakeExecutorOptions options_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> prefixes_;  // [tokens] of the step
  std::vector<SampleResult> results_;
};

// With which a request's sequence of this index draws as one that is alone does with its seed.
constexpr uint64_t FakeSeed(uint64_t seed, uint32_t index) { return seed + (uint64_t{index} << 32); }
// What FakeExecutor gives for this prompt, without any engine. `banned` ids are never drawn.
std::vector<int32_t> FakeTokens(std::vector<int32_t> prompt, uint64_t seed, int num_tokens, int vocab_size,
                                std::span<const int32_t> banned = {});
// The log-probability that FakeExecutor reports for each prompt token after the first.
std::vector<float> FakeScores(std::span<const int32_t> prompt);

}  // namespace latentd
