// The passes of the layer that predicts further tokens behind a step (docs/spec/deepseek.md 3.7): which tokens they run
// over, and how their logits become drafts. The first pass takes each token that the step made known: of a prompt, or
// sampled and accepted. Further ones go on from the drafts, by the layer's own states; what they store is stored anew
// by the steps to come. Engine thread only. Its buffers are reused: what it hands out is valid until the next call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/step/draft_row.h"
#include "kernels/batch.h"

namespace latentd {

class DraftBatch {
 public:
  // Behind a step, from what its logits gave. Both are borrowed until the last pass.
  void Begin(const BatchInputs& step, std::span<const DraftRow> rows, std::span<const SampleResult> results);
  // What the pass at hand gave for its logits; goes on to the next pass.
  void Take(std::span<const SampleResult> results);

  // The pass at hand; none where it has no tokens. Its hidden_rows are of the step's tokens, then of the logit rows of
  // the pass before.
  bool has_pass() const { return !inputs_.token_ids.empty(); }
  const BatchInputs& inputs() const { return inputs_; }
  std::span<const SampleRow> samples() const { return samples_; }

  // One entry per row of Begin.
  std::span<const Drafts> drafts() const { return drafts_; }

 private:
  // A row that goes on drafting behind its last token.
  struct Drafting {
    size_t row = 0;    // of rows_
    int position = 0;  // of its last token
  };

  struct Known;

  Known KnownOf(const DraftRow& row, std::span<const SampleResult> results) const;
  void AddFirst(size_t index, const Known& known);
  void AddRow(const DraftRow& row, int first_position, int num_tokens);
  void AddToken(int32_t id, int hidden_row);
  void AddSample(const Drafting& drafting);
  void NextPass();
  void Reserve(const BatchInputs& step);

  const BatchInputs* step_ = nullptr;
  std::span<const DraftRow> rows_;
  BatchInputs inputs_;
  std::vector<SampleRow> samples_;
  std::vector<Drafts> drafts_;
  std::vector<Drafting> drafting_;  // by logit row of the pass at hand
  std::vector<Drafting> before_;    // of the pass before
  std::vector<std::vector<int32_t>>
      further_;  // [rows] tokens behind those of the row's sample, for draws that look back
};

}  // namespace latentd
