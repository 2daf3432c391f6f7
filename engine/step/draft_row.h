// What the layer that predicts further tokens does behind a row of the step (docs/spec/deepseek.md 3.7), and what that
// gives. Plain values between the engine and its executor.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/request.h"
#include "kernels/batch.h"

namespace latentd {

// The layer's row of a position is made from the hidden state of the position before and the position's own token, and
// stored in the position's own slot.
struct DraftRow {
  int row = 0;           // of the batch
  int first_key = 1;     // of that layer: positions before it have no row there
  int end_position = 0;  // positions before it have slots in the row's block table, and may be the sequence's

  // A row that is not sampled, such as a chunk of a prompt, is only stored. The token behind its last one is known.
  int32_t next_id = -1;

  // A row that is: its last num_verified tokens are drafts, and samples [first_sample, first_sample + num_verified] are
  // those of its logits.
  int first_sample = -1;
  int num_verified = 0;
  int num_drafts = 0;     // to be made behind what its last accepted logits give
  SampleRow sample = {};  // of what follows the token before the first draft: the rule and lists of the drafts' draws

  bool is_sampled() const { return first_sample >= 0; }
};

// The tokens drafted behind one row.
struct Drafts {
  std::array<int32_t, kMaxDrafts> ids{};
  int count = 0;

  std::span<const int32_t> view() const { return std::span(ids).first(static_cast<size_t>(count)); }
  void Add(int32_t id) { ids[static_cast<size_t>(count++)] = id; }
};

}  // namespace latentd
