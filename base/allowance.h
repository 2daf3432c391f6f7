// So many of something at once, then so many a second.
#pragma once

#include <algorithm>

namespace latentd {

class Allowance {
 public:
  constexpr Allowance(double burst, double per_second) : burst_(burst), per_second_(per_second), left_(burst) {}

  void Refill(double seconds) { Add(seconds * per_second_); }
  void Add(double amount) { left_ = std::min(left_ + amount, burst_); }
  // What is owed is bounded as well: it is worked off in the time that the burst takes to come back.
  void Take(double amount) { left_ = std::max(left_ - amount, -burst_); }
  double taken() const { return burst_ - left_; }
  bool is_overdrawn() const { return left_ < 0.0; }

 private:
  double burst_;
  double per_second_;
  double left_;
};

}  // namespace latentd
