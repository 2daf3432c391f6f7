// So many of something at once, then so many a second. Refill comes before each use, with the time by then, which the
// allowance keeps. For one thread at a time.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace latentd {

class Allowance {
 public:
  // Full at `now`. One that is full whenever its first Refill comes, since nothing is taken before, needs none.
  constexpr Allowance(double burst, double per_second, TimePoint now = {})
      : burst_(burst), per_second_(per_second), left_(burst), refilled_(now) {}

  // A time before the last one gives nothing: threads may come out of order.
  void Refill(TimePoint now) {
    if (now <= refilled_) return;
    Add(Seconds(now - refilled_) * per_second_);
    refilled_ = now;
  }
  TimePoint refilled() const { return refilled_; }

  void Add(double amount) { left_ = std::min(left_ + amount, burst_); }
  // What is owed is bounded as well: it is worked off in the time that the burst takes to come back.
  void Take(double amount) { left_ = std::max(left_ - amount, -burst_); }
  double taken() const { return burst_ - left_; }
  bool is_overdrawn() const { return left_ < 0.0; }

 private:
  double burst_;
  double per_second_;
  double left_;
  TimePoint refilled_;
};

}  // namespace latentd
