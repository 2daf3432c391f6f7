// Decode steps filled up to the few sizes that a device records. A row that fills up is a greedy one at position 0 of
// the cache's scratch block, neither stored nor collected. Engine thread only.
#pragma once

#include <span>
#include <vector>

#include "kernels/batch.h"

namespace latentd {

// Whether every row of the step adds one token and wants its logits: the shape of such a step is its number of rows.
bool IsDecode(const BatchInputs& inputs);

class StepPadding {
 public:
  // Copies the step and appends rows up to num_rows.
  void Fill(const BatchInputs& inputs, std::span<const SampleRow> samples, int num_rows);

  const BatchInputs& inputs() const { return inputs_; }
  std::span<const SampleRow> samples() const { return samples_; }

 private:
  BatchInputs inputs_;
  std::vector<SampleRow> samples_;
};

}  // namespace latentd
