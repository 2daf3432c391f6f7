// What one step gave: a value from the engine thread to the publisher.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/schedule/sequence_end.h"
#include "kernels/batch.h"

namespace latentd {

// The tokens that one sequence got.
struct SequenceOutput {
  SequenceId id = {};
  int first_token = 0;    // of StepOutput::tokens
  int num_tokens = 0;     // generated or, for Score, prompt tokens
  int cached_tokens = 0;  // of its prompt, found in the prefix cache
};

// An output that is filled again keeps its memory.
struct StepOutput {
  std::vector<SequenceOutput> sequences = {};  // at most one entry per sequence, for those that got tokens
  std::vector<SequenceEnd> ends = {};          // of sequences that got tokens and of others
  std::vector<SampleResult> tokens = {};       // of all sequences, one after the other
  int num_rows = 0;                            // of the forward pass; 0: nothing was computed
  int num_tokens = 0;                          // of the forward pass

  std::span<SampleResult> TokensOf(const SequenceOutput& sequence) {
    return std::span(tokens).subspan(static_cast<size_t>(sequence.first_token),
                                     static_cast<size_t>(sequence.num_tokens));
  }
  std::span<const SampleResult> TokensOf(const SequenceOutput& sequence) const {
    return std::span(tokens).subspan(static_cast<size_t>(sequence.first_token),
                                     static_cast<size_t>(sequence.num_tokens));
  }
  // Nothing happened, and nothing will before the next command or Engine::NextExpiry.
  bool idle() const { return num_rows == 0 && empty(); }
  // It says nothing about any sequence.
  bool empty() const { return sequences.empty() && ends.empty(); }
  void Clear() {
    sequences.clear();
    ends.clear();
    tokens.clear();
    num_rows = num_tokens = 0;
  }
};

}  // namespace latentd
