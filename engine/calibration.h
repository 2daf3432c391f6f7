// The rate at which the model computes, measured before it serves: so the first steps are no guess.
#pragma once

#include "engine/clock.h"
#include "engine/step_executor.h"

namespace latentd {

struct CalibrationLimits {
  int max_tokens = 0;  // of one step
  int num_blocks = 0;  // of the cache, block 0 included
  int vocab_size = 0;
};

// Tokens per second of the best of some steps: of 16, 32, … tokens, up to one that takes a hundredth of a second or to
// the largest that there is room for. A model for which even 16 are slow runs just these, twice.
// Leaves garbage in the cache, which every sequence overwrites before it reads.
double MeasureTokensPerSecond(StepExecutor& executor, const CalibrationLimits& limits, const Clock& clock);

}  // namespace latentd
