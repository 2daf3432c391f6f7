// A StepExecutor without a model: the token at a position is a hash of all tokens before it, which it finds only
// through the row's block table, the seed and the sequence's index. So output is a pure function of (prompt, seed,
// index, position) exactly as long as the engine's paging is right; a block shared, lost or overwritten gives other
// tokens. What it drafts is right as often as it is told to; a draft from slots that the layer that predicts further
// tokens did not write for this sequence's tokens fails a CHECK.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/step/draft_batch.h"
#include "engine/step/step_executor.h"

namespace latentd {

struct FakeExecutorOptions {
  int num_blocks = 0;
  int vocab_size = 1000;
  uint64_t nonfinite_seed = 0;  // rows with this seed get non-finite logits; 0: none
  double draft_accuracy = 0.0;  // so many drafts of one are what the model gives there, the others another token
  // Called at each Launch, on the engine thread.
  std::function<void(const BatchInputs&, std::span<const SampleRow>)> on_launch = {};
};

class FakeExecutor final : public StepExecutor {
 public:
  explicit FakeExecutor(FakeExecutorOptions options);

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override { return results_; }
  std::span<const Drafts> drafts() const override { return draft_batch_.drafts(); }

 private:
  // What a token's hidden state, and its latent, are made from.
  struct Slot {
    int64_t position = -1;
    uint64_t prefix = 0;  // hash of all tokens up to and including this one
  };
  // The same in the layer that predicts further tokens.
  struct DraftSlot {
    Slot own;
    uint64_t before = 0;  // the hash of all tokens before it
  };

  void Store(const BatchInputs& batch, const BatchRow& row);
  SampleResult Sample(uint64_t prefix, const SampleRow& sample) const;
  void RunPass(const BatchInputs& pass, std::span<const SampleRow> samples);
  void StoreDrafted(const BatchInputs& pass, int token);
  void CheckWindow(const BatchInputs& pass, const BatchRow& row) const;
  SampleResult SampleDraft(uint64_t prefix, const SampleRow& sample) const;

  const FakeExecutorOptions options_;
  std::vector<Slot> slots_;
  std::vector<DraftSlot> draft_slots_;
  std::vector<Slot> tokens_;  // [tokens] of the step
  std::vector<SampleResult> results_;

  DraftBatch draft_batch_;
  std::vector<Slot> hidden_;         // that the pass at hand starts from: [tokens] of the step, or [logit rows]
  std::vector<Slot> drafted_;        // [tokens] of the pass
  std::vector<SampleResult> draws_;  // of the pass
};

// With which a request's sequence of this index draws as one that is alone does with its seed.
constexpr uint64_t FakeSeed(uint64_t seed, uint32_t index) { return seed + (uint64_t{index} << 32); }
// What FakeExecutor gives for this prompt, without any engine. `banned` ids are never drawn.
std::vector<int32_t> FakeTokens(std::vector<int32_t> prompt, uint64_t seed, int num_tokens, int vocab_size,
                                std::span<const int32_t> banned = {});
// The log-probability that FakeExecutor reports for each prompt token after the first.
std::vector<float> FakeScores(std::span<const int32_t> prompt);

}  // namespace latentd
