// How much one step may compute, in tokens and in time. A token's work is 1 plus `work_per_key` for each key that its
// attention reads, so that a chunk deep in a long context is a smaller one. Plain numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace latentd {

struct StepAllowance {
  int tokens = 0;                                         // never more
  double work = std::numeric_limits<double>::infinity();  // nor more of this, but for sequences that generate
  double work_per_key = 0.0;
  int least_chunk = 1;  // the first chunk of a step may be so long whatever its work
  // While there are other sequences: of all prompts together, in a step where rows decode and in one where none does;
  // and of one prompt, where several want some, this part of that.
  double work_beside_decode = std::numeric_limits<double>::infinity();
  double work_beside_prompts = std::numeric_limits<double>::infinity();
  static constexpr double kShareOfOne = 0.5;
  int auto_drafts = 0;             // of each sequence that leaves their number to the engine
  double tokens_per_second = 0.0;  // as measured at the beginning of a context; 0: it was not

  // The work of `num_tokens` consecutive tokens from a position on.
  double WorkOf(int first_position, int num_tokens) const {
    const double keys = num_tokens * (static_cast<double>(first_position) + 0.5 * (num_tokens - 1));
    return num_tokens + work_per_key * keys;
  }
  // The longest chunk from a position on that does so much work.
  int TokensFor(double left, int first_position) const {
    if (left < 1.0) return 0;
    if (work_per_key <= 0.0 || std::isinf(left)) return static_cast<int>(std::min<double>(left, tokens));
    const double half = 0.5 * work_per_key;  // half·n² + linear·n = left
    const double linear = 1.0 + work_per_key * first_position - half;
    const double count = 2.0 * left / (linear + std::sqrt(linear * linear + 4.0 * half * left));
    return static_cast<int>(std::min<double>(count, tokens));
  }
};

}  // namespace latentd
