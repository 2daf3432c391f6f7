#include "engine/metrics.h"

#include <algorithm>

namespace latentd {

void Histogram::Observe(double value, uint64_t times) {
  const auto bucket = std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value);
  counts_[static_cast<size_t>(bucket - upper_bounds_.begin())] += times;
  sum_ += value * static_cast<double>(times);
}

}  // namespace latentd
