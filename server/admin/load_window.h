// Recent events, out of counters that only grow: rates and quantiles over the last ten seconds. A value; its
// owner guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/metrics.h"

namespace latentd {

struct LoadSample {
  TimePoint time{};
  uint64_t generated_tokens = 0;
  uint64_t prompt_tokens = 0;
  uint64_t prefix_queried_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  PreemptionCounts preemptions{};
  WaitCounts waits{};
  std::vector<uint64_t> first_token_counts = {};  // buckets of a Histogram, not cumulative
  std::vector<uint64_t> inter_token_counts = {};
};

// The window reaches from the newest sample that is at least ten seconds old (or, before there is one, the first) to
// the moment asked about: with a sample each second, ten to eleven seconds.
class LoadWindow {
 public:
  // Samples come in the order of time.
  void Add(LoadSample sample);
  // Where the window that ends at `now` begins; a sample must have been added.
  const LoadSample& Start(TimePoint now) const;

 private:
  std::deque<LoadSample> samples_;  // only the first one may be older than the window
};

// The value below which a share `q` of the observations between two states of a histogram lies, as Prometheus's
// histogram_quantile tells it: linear within its bucket, the highest finite bound for what lies beyond all. Nothing
// where nothing was observed.
std::optional<double> QuantileBetween(std::span<const uint64_t> before, std::span<const uint64_t> after,
                                      std::span<const double> upper_bounds, double q);

}  // namespace latentd
