#include "engine/schedule/invariant_watch.h"

#include <chrono>

#include <gtest/gtest.h>

namespace latentd {
namespace {

using std::chrono::microseconds;

constexpr TimePoint kStart{std::chrono::seconds(1000)};

TEST(InvariantWatch, FirstCheckIsDueAtOnce) { EXPECT_TRUE(InvariantWatch().IsDue(kStart)); }

TEST(InvariantWatch, NextCheckIsDueAHundredTimesLater) {
  InvariantWatch watch;
  watch.Checked(kStart, kStart + microseconds(30));
  EXPECT_FALSE(watch.IsDue(kStart + microseconds(30 + 2999)));
  EXPECT_TRUE(watch.IsDue(kStart + microseconds(30 + 3000)));
}

// Checks that grow slower, and steps of any length between them, cost no more than 1 % in the end.
TEST(InvariantWatch, ChecksCostAtMostOnePercent) {
  InvariantWatch watch;
  TimePoint now = kStart;
  Duration checks{};
  int num_checks = 0;
  for (int step = 0; step < 10'000; ++step) {
    now += microseconds(100 + step % 700);
    if (!watch.IsDue(now)) continue;
    const Duration cost = microseconds(1 + num_checks++ % 50);
    watch.Checked(now, now + cost);
    now += cost;
    checks += cost;
  }
  EXPECT_GT(num_checks, 1000);
  EXPECT_LE(checks * 100, now - kStart);
}

}  // namespace
}  // namespace latentd
