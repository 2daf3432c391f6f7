#include "engine/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(Histogram, UpperBoundsBelongToTheirBucket) {
  static constexpr std::array kBounds = {1.0, 2.0};
  Histogram histogram(kBounds);
  histogram.Observe(0.5);
  histogram.Observe(1.0);
  histogram.Observe(1.5, 3);
  histogram.Observe(7.0);
  EXPECT_THAT(histogram.counts(), testing::ElementsAre(2, 3, 1));
  EXPECT_DOUBLE_EQ(histogram.sum(), 0.5 + 1.0 + 4.5 + 7.0);
}

}  // namespace
}  // namespace latentd
