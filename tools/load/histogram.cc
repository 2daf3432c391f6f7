#include "tools/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace latentd {
namespace {

// Values below kSubBuckets have a bucket each. From there on every power of two is cut into kSubBuckets equal parts.
constexpr int64_t kSubBuckets = int64_t{1} << LatencyHistogram::kSubBucketBits;
constexpr int kOctaves = 63 - LatencyHistogram::kSubBucketBits;
constexpr size_t kNumBuckets = static_cast<size_t>(kSubBuckets) * (kOctaves + 1);

size_t BucketOf(int64_t value) {
  if (value < kSubBuckets) return static_cast<size_t>(value);
  const int width = static_cast<int>(std::bit_width(static_cast<uint64_t>(value)));
  const int shift = width - 1 - LatencyHistogram::kSubBucketBits;
  return static_cast<size_t>(kSubBuckets * shift + (value >> shift));
}

int64_t LowestOf(size_t bucket) {
  const auto number = static_cast<int64_t>(bucket);
  if (number < kSubBuckets) return number;
  const int64_t shift = number / kSubBuckets - 1;
  return (number % kSubBuckets + kSubBuckets) << shift;
}

int64_t HighestOf(size_t bucket) {
  const auto number = static_cast<int64_t>(bucket);
  if (number < kSubBuckets) return number;
  const int64_t shift = number / kSubBuckets - 1;
  return LowestOf(bucket) + ((int64_t{1} << shift) - 1);
}

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kNumBuckets) {}

void LatencyHistogram::Record(int64_t nanoseconds, uint64_t times) {
  if (times == 0) return;
  const int64_t value = std::max<int64_t>(0, nanoseconds);
  counts_[BucketOf(value)] += times;
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  count_ += times;
  sum_ += static_cast<double>(value) * static_cast<double>(times);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < kNumBuckets; ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
}

int64_t LatencyHistogram::Percentile(double percent) const {
  if (count_ == 0) return 0;
  // Without the subtraction 99.9 % of 1000 would round up to rank 1000: 99.9 has no exact binary form.
  const double exact_rank = percent / 100.0 * static_cast<double>(count_) - 1e-6;
  const auto rank = static_cast<uint64_t>(std::clamp(std::ceil(exact_rank), 1.0, static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kNumBuckets; ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(HighestOf(i), max_);
  }
  return max_;
}

std::vector<LatencyHistogram::Bucket> LatencyHistogram::Buckets() const {
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < kNumBuckets; ++i) {
    if (counts_[i] > 0) buckets.push_back({.lowest = LowestOf(i), .highest = HighestOf(i), .count = counts_[i]});
  }
  return buckets;
}

}  // namespace latentd
