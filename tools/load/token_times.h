// When the tokens of one answer came. A Delta of k tokens is one wait, for the first of them, and k - 1 waits of
// nothing: that is what a reader sees, and a stall before a large Delta stays as long as it was.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/load/histogram.h"

namespace latentd {

inline constexpr int64_t kNotReached = -1;

class TokenTimes {
 public:
  // A Delta came; returns how many new tokens it brought.
  uint32_t Observe(uint32_t tokens_so_far, int64_t now);

  uint32_t num_tokens() const { return num_tokens_; }
  int64_t first() const { return first_; }
  int64_t second() const { return second_; }
  int64_t last() const { return last_; }
  void RecordWaits(LatencyHistogram& histogram) const;

 private:
  uint32_t num_tokens_ = 0;
  int64_t first_ = kNotReached;
  int64_t second_ = kNotReached;
  int64_t last_ = kNotReached;
  std::vector<int64_t> waits_;
  uint64_t num_zero_waits_ = 0;
};

}  // namespace latentd
