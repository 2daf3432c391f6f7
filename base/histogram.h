// Counts of values by size. A plain value of fixed size, so that copying many of them under a lock costs no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace latentd {

// Bucket bounds of every histogram that the daemon exports (docs/spec/api.md 3). They live here and nowhere else.
inline constexpr std::array kRequestSeconds = {.001, .002, .005, .01, .02, .05, .1,   .2,   .5,   1.,
                                               2.,   5.,   10.,  20., 30., 60., 120., 300., 600., 1800.};
inline constexpr std::array kTokenSeconds = {.0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03, .05,
                                             .075,  .1,   .15,  .2,   .3,   .5,    1.,  2.,   5.,  10.};
inline constexpr std::array kSchedulerSeconds = {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4,
                                                 5e-4, 1e-3, 2e-3, 5e-3, .01,  .05,  .1,   1.};
inline constexpr std::array kStepRows = {1., 2., 4., 8., 16., 32., 64., 128., 256., 512.};
inline constexpr std::array kStepTokens = {1., 4., 16., 64., 128., 256., 512., 1024., 2048., 4096., 8192.};
inline constexpr std::array kLengthTokens = {1.,   2.,    4.,    8.,    16.,   32.,    64.,    128.,   256.,
                                             512., 1024., 2048., 4096., 8192., 16384., 32768., 65536., 131072.};

class Histogram {
 public:
  static constexpr size_t kMaxBuckets = 22;  // of the bounds above, +Inf included

  // `upper_bounds` ascend and must outlive the histogram: constants.
  template <size_t kBounds>
  explicit constexpr Histogram(const std::array<double, kBounds>& upper_bounds) : upper_bounds_(upper_bounds) {
    static_assert(kBounds < kMaxBuckets);
  }

  void Observe(double value, uint64_t times = 1) {
    const auto bucket = std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value);
    counts_[static_cast<size_t>(bucket - upper_bounds_.begin())] += times;
    sum_ += value * static_cast<double>(times);
  }
  // `other` has the same bounds.
  void Add(const Histogram& other) {
    for (size_t i = 0; i < kMaxBuckets; ++i) counts_[i] += other.counts_[i];
    sum_ += other.sum_;
  }

  std::span<const double> upper_bounds() const { return upper_bounds_; }
  // Per bucket, not cumulative; the last is +Inf.
  std::span<const uint64_t> counts() const { return std::span(counts_).first(upper_bounds_.size() + 1); }
  uint64_t count() const {
    uint64_t total = 0;
    for (const uint64_t count : counts()) total += count;
    return total;
  }
  double sum() const { return sum_; }

 private:
  std::span<const double> upper_bounds_;
  std::array<uint64_t, kMaxBuckets> counts_{};
  double sum_ = 0.0;
};

}  // namespace latentd
