#include "tools/load/token_times.h"

namespace latentd {

uint32_t TokenTimes::Observe(uint32_t tokens_so_far, int64_t now) {
  if (tokens_so_far <= num_tokens_) return 0;
  const uint32_t new_tokens = tokens_so_far - num_tokens_;
  if (first_ == kNotReached) {
    first_ = now;
  } else {
    waits_.push_back(now - last_);
  }
  num_zero_waits_ += new_tokens - 1;
  num_tokens_ = tokens_so_far;
  if (second_ == kNotReached && num_tokens_ >= 2) second_ = now;
  last_ = now;
  return new_tokens;
}

void TokenTimes::RecordWaits(LatencyHistogram& histogram) const {
  for (const int64_t wait : waits_) histogram.Record(wait);
  histogram.Record(0, num_zero_waits_);
}

}  // namespace latentd
