#include "tools/load/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

constexpr uint32_t kSeed = 20240611;
constexpr double kPercents[] = {0.1, 1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0};

// Latencies from nanoseconds to minutes, as a run has them.
std::vector<int64_t> RandomLatencies(size_t count, std::mt19937& random) {
  std::lognormal_distribution<double> latency(14.0, 3.0);
  std::vector<int64_t> values(count);
  for (int64_t& value : values) value = static_cast<int64_t>(latency(random));
  return values;
}

int64_t ExactPercentile(std::vector<int64_t> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100.0 * static_cast<double>(values.size()) - 1e-6);
  return values[static_cast<size_t>(std::max(1.0, rank)) - 1];
}

TEST(LatencyHistogram, PercentilesAreWithinTheBoundOfTheExactOnes) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  for (const size_t count : {1u, 2u, 10u, 999u, 1000u, 50'000u}) {
    const std::vector<int64_t> values = RandomLatencies(count, random);
    LatencyHistogram histogram;
    for (const int64_t value : values) histogram.Record(value);
    for (const double percent : kPercents) {
      const auto exact = static_cast<double>(ExactPercentile(values, percent));
      const auto found = static_cast<double>(histogram.Percentile(percent));
      EXPECT_GE(found, exact) << percent << " % of " << count;
      EXPECT_LE(found, exact * (1.0 + LatencyHistogram::kMaxRelativeError)) << percent << " % of " << count;
    }
  }
}

TEST(LatencyHistogram, BoundIsAtMostOnePercent) { EXPECT_LE(LatencyHistogram::kMaxRelativeError, 0.01); }

TEST(LatencyHistogram, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int64_t value = 0; value < 128; ++value) histogram.Record(value);
  EXPECT_EQ(histogram.Percentile(50.0), 63);
  EXPECT_EQ(histogram.Percentile(100.0), 127);
}

TEST(LatencyHistogram, KeepsCountMeanAndExtremesExactly) {
  LatencyHistogram histogram;
  histogram.Record(1'000'003);
  histogram.Record(3'000'001, 3);
  EXPECT_EQ(histogram.count(), 4u);
  EXPECT_EQ(histogram.min(), 1'000'003);
  EXPECT_EQ(histogram.max(), 3'000'001);
  EXPECT_DOUBLE_EQ(histogram.mean(), (1'000'003.0 + 3 * 3'000'001.0) / 4.0);
  EXPECT_EQ(histogram.Percentile(100.0), 3'000'001);
}

TEST(LatencyHistogram, TakesEveryValue) {
  LatencyHistogram histogram;
  histogram.Record(-5);
  histogram.Record(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.Percentile(100.0), std::numeric_limits<int64_t>::max());
}

TEST(LatencyHistogram, EmptyOneIsZeroEverywhere) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.Percentile(99.0), 0);
  EXPECT_EQ(histogram.mean(), 0.0);
  EXPECT_TRUE(histogram.Buckets().empty());
}

TEST(LatencyHistogram, BucketsHoldEverySampleOnceAndInOrder) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::vector<int64_t> values = RandomLatencies(10'000, random);
  LatencyHistogram histogram;
  for (const int64_t value : values) histogram.Record(value);
  uint64_t sum = 0;
  int64_t before = -1;
  for (const LatencyHistogram::Bucket& bucket : histogram.Buckets()) {
    EXPECT_GT(bucket.lowest, before);
    before = bucket.highest;
    const auto inside = std::count_if(values.begin(), values.end(), [&bucket](int64_t value) {
      return value >= bucket.lowest && value <= bucket.highest;
    });
    ASSERT_EQ(static_cast<uint64_t>(inside), bucket.count) << bucket.lowest;
    sum += bucket.count;
  }
  EXPECT_EQ(sum, values.size());
}

TEST(LatencyHistogram, MergedPartsAreTheWhole) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  LatencyHistogram whole, merged;
  for (int part = 0; part < 4; ++part) {
    LatencyHistogram histogram;
    for (const int64_t value : RandomLatencies(1'000, random)) {
      histogram.Record(value);
      whole.Record(value);
    }
    merged.Merge(histogram);
  }
  merged.Merge(LatencyHistogram());
  EXPECT_EQ(merged.count(), whole.count());
  EXPECT_EQ(merged.min(), whole.min());
  EXPECT_EQ(merged.max(), whole.max());
  EXPECT_NEAR(merged.mean(), whole.mean(), whole.mean() * 1e-9);
  for (const double percent : kPercents) EXPECT_EQ(merged.Percentile(percent), whole.Percentile(percent));
}

}  // namespace
}  // namespace latentd
