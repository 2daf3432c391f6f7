// How much work a step may be, in tokens at the beginning of a context (StepAllowance says what deeper ones cost), so
// that it stays within max_step_seconds, learnt from the steps before it. Owned by the Engine; engine thread only.
#pragma once

namespace latentd {

struct StepBudgetOptions {
  double max_step_seconds = 0.1;   // infinity: steps are bounded in tokens only
  int first_tokens = 64;           // budget while nothing was measured
  double tokens_per_second = 0.0;  // measured before; 0: it was not
  double work_per_key = 0.0;       // StepAllowance's, measured before
  int min_tokens = 16;             // never less: the fixed cost of a step would eat a smaller one
};

class StepBudget {
 public:
  explicit StepBudget(const StepBudgetOptions& options)
      : options_(options), tokens_per_second_(options.tokens_per_second) {}

  int tokens() const;
  double tokens_per_second() const { return tokens_per_second_; }
  // What rows that decode take of a step, as measured; 0 where none did so far.
  double decode_seconds() const { return decode_seconds_; }
  double tokens_in(double seconds) const { return tokens_per_second_ * seconds; }
  struct Work {
    double all = 0.0;
    double of_decode = 0.0;  // the part of rows that decode
  };
  // A step of so much work, dealt out of a budget of tokens(), took so long.
  void Observe(const Work& work, double seconds);

 private:
  const StepBudgetOptions options_;
  double tokens_per_second_;  // 0: not measured so far
  bool was_slow_ = false;     // the step before
  double decode_seconds_ = 0.0;
};

}  // namespace latentd
