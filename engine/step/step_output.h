// What one step gave: a value from the engine thread to the publisher.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/request.h"
#include "engine/schedule/sequence_end.h"
#include "kernels/batch.h"

namespace latentd {

// What one sequence got, its end included.
struct SequenceOutput {
  SequenceId id = {};
  std::vector<SampleResult> tokens = {};  // generated or, for Score, prompt tokens
  std::optional<SequenceEnd> end = {};
};

struct StepOutput {
  std::vector<SequenceOutput> sequences = {};  // at most one entry per sequence
  int num_rows = 0;                            // of the forward pass; 0: nothing was computed
  int num_tokens = 0;

  // Nothing happened, and nothing will before the next command or Engine::NextExpiry.
  bool idle() const { return num_rows == 0 && sequences.empty(); }
};

}  // namespace latentd
