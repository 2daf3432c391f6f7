// What the simulated executor knows of a step's rows and tokens, for those that judge a step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/simulation/life.h"

namespace latentd::simulation {

struct LaunchedRow {
  SequenceLife* sequence = nullptr;
  int first_position = 0;
  int num_tokens = 0;
  int num_again = 0;         // of its first tokens: the cache has them
  int num_drafts = 0;        // its last tokens
  int num_logits = 0;        // from first_sample on
  int first_sample = 0;      // of the step
  bool has_waited = false;   // it is the first, or the first after a preemption
  bool is_finite = true;     // as far as what it draws counts
  int num_accepted = 0;      // of its drafts: its sequence's tokens from now on
  int num_given = 0;         // results that its sequence gets
  bool is_followed = false;  // by the layer that predicts further tokens

  int end_position() const { return first_position + num_tokens; }
  int first_new_position() const { return first_position + num_again; }
  // Behind its tokens that are none of its drafts.
  int end_of_known() const { return end_position() - num_drafts; }
  int committed_end() const { return end_of_known() + num_accepted; }
};

// What a hidden state is made from.
struct TokenState {
  size_t row = 0;  // of the step
  int position = 0;
  uint64_t prefix = 0;      // of the token and all before it, fake_model.h
  bool is_drafted = false;  // of the layer that predicts further tokens, else of the main model
};

}  // namespace latentd::simulation
