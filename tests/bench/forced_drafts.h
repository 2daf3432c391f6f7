// Drafts of a chosen acceptance, for a model whose own are never right: each is replaced by the token that will come,
// with that chance, else by another one. What is computed stays the real thing. Engine thread only.
#pragma once

#include <map>
#include <random>
#include <vector>

#include "engine/step/step_executor.h"

namespace latentd {

// The tokens of each sequence, prompts included, as they come without drafts: by their requests' seeds, which differ.
using TokensBySeed = std::map<uint64_t, std::vector<int32_t>>;

class ForcedDrafts final : public StepExecutor {
 public:
  // Both must outlive it.
  ForcedDrafts(StepExecutor& executor, const TokensBySeed& tokens, double acceptance)
      : executor_(executor), tokens_(tokens), acceptance_(acceptance) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override;
  std::span<const Drafts> drafts() const override { return drafts_; }

 private:
  void Replace(const DraftRow& row, std::span<const SampleResult> results, Drafts& drafts);
  int32_t Forced(int32_t right);

  StepExecutor& executor_;
  const TokensBySeed& tokens_;
  const double acceptance_;
  std::mt19937 random_{1};
  const BatchInputs* batch_ = nullptr;  // with what follows, of the step at hand
  std::span<const SampleRow> samples_;
  std::span<const DraftRow> rows_;
  std::vector<Drafts> drafts_;
};

}  // namespace latentd
