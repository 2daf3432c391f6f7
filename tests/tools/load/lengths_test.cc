#include "tools/load/lengths.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(LengthDistribution, LogNormalHasItsMeanItsDeviationAndALongTail) {
  const LengthDistribution lengths = *ParseLengths("--f", "lognormal:1000:800:1:100000");
  SeededRandom random(5, Purpose::kRequest);
  double sum = 0.0;
  double squares = 0.0;
  int num_below_mean = 0;
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; ++i) {
    const double drawn = lengths.Draw(random);
    sum += drawn;
    squares += drawn * drawn;
    num_below_mean += drawn < 1000.0 ? 1 : 0;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 1000.0, 10.0);
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), 800.0, 30.0);
  EXPECT_NEAR(num_below_mean, 0.637 * kCount, 0.01 * kCount);  // half the deviation of the logarithm, 0.703
}

TEST(ParseLengths, TakesItsThreeForms) {
  const LengthDistribution fixed = *ParseLengths("--f", "128");
  EXPECT_EQ(fixed.min, 128u);
  EXPECT_EQ(fixed.max, 128u);
  const LengthDistribution normal = *ParseLengths("--f", "100:10");
  EXPECT_EQ(normal.min, 1u);
  EXPECT_EQ(normal.max, 140u);
  const LengthDistribution bounded = *ParseLengths("--f", "100:10:80:120");
  EXPECT_EQ(bounded.deviation, 10.0);
  EXPECT_EQ(bounded.min, 80u);
  EXPECT_EQ(bounded.max, 120u);
  const LengthDistribution tailed = *ParseLengths("--f", "lognormal:100:10");
  EXPECT_EQ(tailed.shape, LengthDistribution::Shape::kLogNormal);
  EXPECT_EQ(tailed.max, 260u);
}

TEST(ParseLengths, RefusesWhatIsNoLength) {
  for (const char* text : {"", "0", "x", "1:2:3", "10:1:20:30", "10:1:0:30", "10:1:1:5", "-1", "1e9", "1:2:3:4:5",
                           "nan", "lognormal:", "lognormal:5", "normal:5:1"}) {
    EXPECT_FALSE(ParseLengths("--f", text).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
