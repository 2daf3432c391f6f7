#include "server/process/load_progress.h"

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace latentd {
namespace {

TEST(LoadProgress, TextSaysBytesRateAndTimeLeft) {
  EXPECT_EQ(ProgressText({.read = 1'500'000'000, .total = 6'000'000'000, .seconds = 0.5}),
            "weights: 1.50 of 6.00 GB (25 %), 3.00 GB/s, 2 s left");
  EXPECT_EQ(ProgressText({.read = 5'999'999'999, .total = 6'000'000'000, .seconds = 2.0}),
            "weights: 6.00 of 6.00 GB (99 %), 3.00 GB/s, 1 s left");
  EXPECT_EQ(ProgressText({}), "weights: 0.00 of 0.00 GB (100 %), 0.00 GB/s, 0 s left");
  EXPECT_EQ(SummaryText({.read = 2'040'000'000, .total = 2'040'000'000, .seconds = 1.25}),
            "weights: 2.04 GB in 1.25 s (1.63 GB/s)");
}

TEST(LoadProgress, MetricsNeverGoBackwards) {
  Metrics metrics;
  const SteadyClock clock;
  LoadProgress progress(metrics, clock);
  progress.OnRead(20, 100);
  progress.OnRead(10, 100);
  EXPECT_EQ(metrics.Snapshot().model_bytes_loaded, 20u);
  EXPECT_EQ(metrics.Snapshot().model_bytes_total, 100u);
}

}  // namespace
}  // namespace latentd
