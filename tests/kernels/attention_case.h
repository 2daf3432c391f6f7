// Sequences with random latents and queries, attended to in any grouping of their tokens into steps.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/attention.h"

namespace latentd {

// Tokens [first, first + count) of a sequence as one row of a step.
struct Chunk {
  int sequence = 0;
  int first = 0;
  int count = 0;
  int first_key = 0;
};

// How a step lies in memory, which no result may depend on.
struct Placement {
  unsigned block_seed = 0;  // blocks lie in a random order drawn from it; 0: ascending
  int padding_rows = 0;     // behind the step's own, as a decode step is filled up
  bool is_copied = false;   // the latents were stored in other blocks, and copied from there slot by slot
};

class AttentionCase {
 public:
  // lengths[s] tokens of sequence s, each with a query. The latents are values that a cache of their format holds.
  AttentionCase(const AttentionShape& shape, DType weights, std::vector<int> lengths, std::mt19937& random,
                LatentFormat latents = LatentFormat::kF32, ActivationFormat activations = ActivationFormat::kF32);

  // Latents become what the cache holds of what `change` makes of them.
  void ChangeLatents(const std::function<void(int sequence, int token, std::vector<float>& latent)>& change);

  // Runs the steps one after the other and returns the outputs, [sequence][token]; empty where no step had the token.
  // What no row of a step may see is NaN while it runs.
  using Outputs = std::vector<std::vector<std::vector<float>>>;
  Outputs Run(Backend& backend, const std::vector<std::vector<Chunk>>& steps, Placement placement = {}) const;

  // All tokens of all sequences as one step, or of each sequence in chunks of the given size.
  std::vector<std::vector<Chunk>> Whole() const;
  std::vector<std::vector<Chunk>> InChunksOf(int size) const;
  // The last tokens of all sequences, up to `count` of each, as one step.
  std::vector<std::vector<Chunk>> Tails(int count) const;
  // Steps with the same tokens, of which none sees a key before first_keys[sequence].
  static std::vector<std::vector<Chunk>> From(const std::vector<int>& first_keys,
                                              std::vector<std::vector<Chunk>> steps);

  StepLimits Limits() const;
  reference::Vector Reference(int sequence, int token, int first_key = 0) const;
  std::vector<float> Contract(int sequence, int token, int first_key = 0) const;

  const AttentionShape shape;
  const float scale;
  const std::vector<int> lengths;
  const LatentFormat latents;
  const ActivationFormat activations;

 private:
  using Tables = std::vector<std::vector<int32_t>>;  // each sequence's blocks; block 0 is in no table
  Tables PlaceBlocks(unsigned seed) const;
  BatchInputs Batch(const std::vector<Chunk>& chunks, const Tables& tables, int padding_rows) const;
  LatentPages View(std::byte* pages) const;
  std::vector<std::byte> Pages(const std::vector<Chunk>& chunks, const Tables& tables) const;
  // From as many blocks behind the tables', which hold nothing.
  void CopyIntoPlace(Ops& ops, const BatchInputs& batch, LatentPages pages) const;
  std::vector<std::vector<float>> Queries(const std::vector<Chunk>& chunks, int padding_rows) const;
  int num_blocks() const;

  StoredMatrix up_;
  std::vector<reference::LatentRows> latents_;
  std::vector<std::vector<std::vector<float>>> queries_;  // [sequence][token]
};

// Where `a` has an output at all, it is that of `b`; there is one at least.
testing::AssertionResult SameOutputs(const AttentionCase::Outputs& a, const AttentionCase::Outputs& b);

}  // namespace latentd
