#include "engine/step_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace latentd {
namespace {

constexpr double kNewestWeight = 0.5;
constexpr int kUnbounded = std::numeric_limits<int>::max();

}  // namespace

int StepBudget::tokens() const {
  if (std::isinf(options_.max_step_seconds)) return kUnbounded;
  if (tokens_per_second_ == 0.0) return std::max(options_.first_tokens, options_.min_tokens);
  const double fitting = tokens_per_second_ * options_.max_step_seconds;
  if (fitting >= kUnbounded) return kUnbounded;
  return std::max(static_cast<int>(fitting), options_.min_tokens);
}

void StepBudget::Observe(int num_tokens, double seconds) {
  if (num_tokens == 0 || seconds <= 0.0) return;
  const double measured = num_tokens / seconds;
  // A small step says little about a large one, because each step reads the weights once whatever its size: one that
  // was neither full nor slow can only show that more is possible.
  const bool was_full = num_tokens >= tokens();
  const bool was_slow = seconds > options_.max_step_seconds;
  if (tokens_per_second_ == 0.0) {
    tokens_per_second_ = measured;
  } else if (was_full || was_slow) {
    tokens_per_second_ += kNewestWeight * (measured - tokens_per_second_);
  } else {
    tokens_per_second_ = std::max(tokens_per_second_, measured);
  }
}

}  // namespace latentd
