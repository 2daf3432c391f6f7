#include "engine/step/step_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace latentd {
namespace {

constexpr double kSlowerWeight = 0.5, kFasterWeight = 0.25;  // of the newest step
constexpr double kDecodeWeight = 0.1;
constexpr double kFull = 0.9;  // a rest that is too little for a token deep in a context is not dealt
constexpr int kUnbounded = std::numeric_limits<int>::max();

}  // namespace

int StepBudget::tokens() const {
  if (std::isinf(options_.max_step_seconds)) return kUnbounded;
  if (tokens_per_second_ == 0.0) return std::max(options_.first_tokens, options_.min_tokens);
  const double fitting = tokens_per_second_ * options_.max_step_seconds;
  if (fitting >= kUnbounded) return kUnbounded;
  return std::max(static_cast<int>(fitting), options_.min_tokens);
}

void StepBudget::Observe(const Work& step, double seconds) {
  const double work = step.all;
  if (work <= 0.0 || seconds <= 0.0) return;
  if (step.of_decode > 0.0 && tokens_per_second_ > 0.0) {
    // Beside prompts it is only known what decoding takes at most: on a busy machine they take longer than the rate
    // says, and what they get depends on this.
    const double of_prompts = (work - step.of_decode) / tokens_per_second_;
    const double most = std::max(0.0, seconds - of_prompts);
    const double taken = of_prompts > 0.0 ? std::min(decode_seconds_, most) : most;
    decode_seconds_ += kDecodeWeight * (taken - decode_seconds_);
  }
  const double measured = work / seconds;
  // A small step says little about a large one, because each step reads the weights once whatever its size: one that
  // was neither full nor slow can only show that more is possible.
  const bool was_full = work >= kFull * tokens();
  const bool was_slow = seconds > options_.max_step_seconds;
  const bool is_slow_again = was_slow && was_slow_;
  was_slow_ = was_slow;
  if (tokens_per_second_ == 0.0) {
    tokens_per_second_ = measured;
  } else if (is_slow_again) {
    tokens_per_second_ = std::min(tokens_per_second_, measured);  // no accident: the machine is busy
  } else if (was_full || was_slow || measured > tokens_per_second_) {
    const double weight = measured < tokens_per_second_ ? kSlowerWeight : kFasterWeight;
    tokens_per_second_ += weight * (measured - tokens_per_second_);
  }
}

}  // namespace latentd
