#include "tools/load/token_times.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(TokenTimes, DeltaOfSeveralTokensIsOneWaitAndWaitsOfNothing) {
  TokenTimes times;
  EXPECT_EQ(times.Observe(1, 100), 1u);
  EXPECT_EQ(times.Observe(2, 120), 1u);
  EXPECT_EQ(times.Observe(6, 180), 4u);
  LatencyHistogram waits;
  times.RecordWaits(waits);
  EXPECT_EQ(waits.count(), 5u);  // one fewer than tokens
  EXPECT_EQ(waits.max(), 60);
  EXPECT_EQ(waits.Percentile(60.0), 0);
  EXPECT_DOUBLE_EQ(waits.mean() * 5.0, 80.0);  // all the time between the first and the last token
}

TEST(TokenTimes, SecondTokenMayComeWithTheFirst) {
  TokenTimes times;
  times.Observe(3, 100);
  EXPECT_EQ(times.first(), 100);
  EXPECT_EQ(times.second(), 100);
  EXPECT_EQ(times.last(), 100);
}

TEST(TokenTimes, DeltaWithoutANewTokenIsNoToken) {
  TokenTimes times;
  times.Observe(1, 100);
  EXPECT_EQ(times.Observe(1, 150), 0u);
  EXPECT_EQ(times.last(), 100);
  EXPECT_EQ(times.second(), kNotReached);
}

}  // namespace
}  // namespace latentd
