// Sequences with random latents and queries, attended to in any grouping of their tokens into steps.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/attention.h"

namespace latentd {

// Tokens [first, first + count) of a sequence as one row of a step.
struct Chunk {
  int sequence = 0;
  int first = 0;
  int count = 0;
};

class AttentionCase {
 public:
  // lengths[s] tokens of sequence s, each with a query.
  AttentionCase(const AttentionShape& shape, DType weights, std::vector<int> lengths, std::mt19937& random);

  // Runs the steps one after the other and returns the outputs, [sequence][token]; empty where no step had the token.
  // Blocks lie in a random order drawn from `block_seed`. What no row of a step may see is NaN while it runs.
  using Outputs = std::vector<std::vector<std::vector<float>>>;
  Outputs Run(Ops& ops, const std::vector<std::vector<Chunk>>& steps, unsigned block_seed = 0) const;

  // All tokens of all sequences as one step, or of each sequence in chunks of the given size.
  std::vector<std::vector<Chunk>> Whole() const;
  std::vector<std::vector<Chunk>> InChunksOf(int size) const;
  // The last tokens of all sequences, up to `count` of each, as one step.
  std::vector<std::vector<Chunk>> Tails(int count) const;

  Backend MakeBackend(int num_threads) const;
  reference::Vector Reference(int sequence, int token) const;
  std::vector<float> Contract(int sequence, int token) const;

  const AttentionShape shape;
  const float scale;
  const std::vector<int> lengths;

 private:
  BatchInputs Batch(const std::vector<Chunk>& chunks, const std::vector<std::vector<int32_t>>& tables) const;

  StoredMatrix up_;
  std::vector<reference::LatentRows> latents_;
  std::vector<std::vector<std::vector<float>>> queries_;  // [sequence][token]
};

}  // namespace latentd
