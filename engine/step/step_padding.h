// Decode steps filled up to the few sizes that a device records. A row that fills up is a greedy one at the beginning
// of the cache's scratch block, neither stored nor collected. Engine thread only.
#pragma once

#include <span>
#include <vector>

#include "kernels/batch.h"

namespace latentd {

// The number of tokens that each row of the step adds, where they all add as many and want the logits of each: the
// shape of such a step is this beside its number of rows. 0 else.
int TokensPerRow(const BatchInputs& inputs);

class StepPadding {
 public:
  // Copies the step, which has TokensPerRow, and appends rows up to num_rows.
  void Fill(const BatchInputs& inputs, std::span<const SampleRow> samples, int num_rows);

  const BatchInputs& inputs() const { return inputs_; }
  std::span<const SampleRow> samples() const { return samples_; }

 private:
  BatchInputs inputs_;
  std::vector<SampleRow> samples_;
};

}  // namespace latentd
