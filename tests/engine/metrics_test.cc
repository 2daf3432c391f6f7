#include "engine/metrics.h"

#include <vector>

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

TEST(FairnessIndex, IsOneWhereAllAreEqualAndTheNthPartWhereOneHasAll) {
  const TenantTotals idle{.recent_service = 9.0}, poor{.is_active = true};
  const TenantTotals rich{.recent_service = 6.0, .is_active = true};
  const auto index_of = [](const std::vector<TenantTotals>& tenants) { return FairnessIndex(tenants); };
  EXPECT_EQ(index_of({}), 1.0);
  EXPECT_EQ(index_of({poor, poor}), 1.0) << "none got anything";
  EXPECT_EQ(index_of({rich, rich, idle}), 1.0);
  EXPECT_EQ(index_of({rich, poor, poor, poor}), 0.25);
}

}  // namespace
}  // namespace latentd
