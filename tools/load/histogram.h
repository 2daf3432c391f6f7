// Latencies in nanoseconds, counted in buckets whose width is a fixed part of their value (HDR style): no sample is
// lost and every percentile is within kMaxRelativeError above the exact one. One thread each; Merge joins them.
#pragma once

#include <cstdint>
#include <vector>

namespace latentd {

class LatencyHistogram {
 public:
  static constexpr int kSubBucketBits = 7;
  static constexpr double kMaxRelativeError = 1.0 / (1 << kSubBucketBits);

  struct Bucket {
    int64_t lowest = 0;
    int64_t highest = 0;  // inclusive
    uint64_t count = 0;
  };

  LatencyHistogram();

  // A negative value counts as 0: clocks of two threads may differ by less than they resolve.
  void Record(int64_t nanoseconds, uint64_t times = 1);
  void Merge(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  int64_t min() const { return count_ == 0 ? 0 : min_; }
  int64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0.0 : sum_ / static_cast<double>(count_); }
  // The smallest recorded value that `percent` of all samples do not exceed, rounded up to its bucket's end. 0: empty.
  int64_t Percentile(double percent) const;
  // Those that are not empty, ascending.
  std::vector<Bucket> Buckets() const;

 private:
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double sum_ = 0.0;
};

}  // namespace latentd
