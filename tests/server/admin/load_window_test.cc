#include "server/admin/load_window.h"

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TimePoint At(double seconds) { return TimePoint(FromSeconds(1000.0 + seconds)); }

TEST(LoadWindow, YoungWindowBeginsWithTheFirstSample) {
  LoadWindow window;
  window.Add({.time = At(0)});
  window.Add({.time = At(4)});
  EXPECT_EQ(window.Start(At(5)).time, At(0));
}

TEST(LoadWindow, ReachesBackToTheNewestSampleOfTenSecondsAgo) {
  LoadWindow window;
  for (int second = 0; second <= 60; ++second) window.Add({.time = At(second)});
  EXPECT_EQ(window.Start(At(60.0)).time, At(50));
  EXPECT_EQ(window.Start(At(60.9)).time, At(50));
}

TEST(LoadWindow, LateSamplerLeavesALongerWindowNotAnEmptyOne) {
  LoadWindow window;
  window.Add({.time = At(0)});
  window.Add({.time = At(30)});
  EXPECT_EQ(window.Start(At(31)).time, At(0));
  EXPECT_EQ(window.Start(At(45)).time, At(30));
}

const std::vector<double> kBounds = {1.0, 2.0, 4.0};

TEST(QuantileBetween, NothingObservedHasNoQuantile) {
  const std::vector<uint64_t> counts = {3, 1, 0, 2};
  EXPECT_FALSE(QuantileBetween(counts, counts, kBounds, 0.5).has_value());
}

TEST(QuantileBetween, IsLinearWithinItsBucket) {
  const std::vector<uint64_t> before = {5, 5, 5, 5};
  const std::vector<uint64_t> after = {5, 15, 5, 5};
  EXPECT_DOUBLE_EQ(*QuantileBetween(before, after, kBounds, 0.5), 1.5);
  EXPECT_DOUBLE_EQ(*QuantileBetween(before, after, kBounds, 1.0), 2.0);
}

TEST(QuantileBetween, LooksForTheRankAcrossBuckets) {
  const std::vector<uint64_t> none = {0, 0, 0, 0};
  const std::vector<uint64_t> after = {2, 0, 2, 0};
  EXPECT_DOUBLE_EQ(*QuantileBetween(none, after, kBounds, 0.25), 0.5);
  EXPECT_DOUBLE_EQ(*QuantileBetween(none, after, kBounds, 0.75), 3.0);
}

TEST(QuantileBetween, BeyondAllBoundsIsTheHighestOne) {
  const std::vector<uint64_t> none = {0, 0, 0, 0};
  const std::vector<uint64_t> after = {1, 0, 0, 9};
  EXPECT_DOUBLE_EQ(*QuantileBetween(none, after, kBounds, 0.99), 4.0);
}

}  // namespace
}  // namespace latentd
