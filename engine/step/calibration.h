// The rate at which the model computes, measured before it serves: so the first steps are no guess.
#pragma once

#include "base/clock.h"
#include "engine/step/step_executor.h"

namespace latentd {

struct CalibrationLimits {
  int max_tokens = 0;  // of one step
  int num_blocks = 0;  // of the cache, block 0 included
  int vocab_size = 0;
  int max_context = 0;  // attention is also measured at depth where this leaves room for it
};

struct MeasuredRate {
  double tokens_per_second = 0.0;  // at the beginning of a context
  double work_per_key = 0.0;       // StepAllowance's: what each key costs, in such tokens
};

// Tokens per second of the best of some steps: of 16, 32, … tokens, up to one that takes 6 ms or to the largest that
// there is room for. A model for which even 16 are slow runs just these, after a single one.
// Then the first of them that takes 2 ms once more, deep in a context, for the cost of its keys.
// Leaves garbage in the cache, which every sequence overwrites before it reads.
MeasuredRate MeasureRate(StepExecutor& executor, const CalibrationLimits& limits, const Clock& clock);

}  // namespace latentd
