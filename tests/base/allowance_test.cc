#include "base/allowance.h"

#include <chrono>

#include <gtest/gtest.h>

namespace latentd {
namespace {

constexpr TimePoint kStart{std::chrono::seconds(1000)};

TEST(Allowance, SoManyAtOnceThenSoManyASecond) {
  Allowance allowance(10.0, 2.0, kStart);
  allowance.Take(10.0);
  EXPECT_FALSE(allowance.is_overdrawn());
  allowance.Take(1.0);
  EXPECT_TRUE(allowance.is_overdrawn());
  allowance.Refill(kStart + std::chrono::milliseconds(250));
  EXPECT_TRUE(allowance.is_overdrawn());
  allowance.Refill(kStart + std::chrono::milliseconds(500));
  EXPECT_FALSE(allowance.is_overdrawn());
  EXPECT_EQ(allowance.taken(), 10.0);
}

TEST(Allowance, IsNeverFullerThanTheBurstAndNeverOwesMore) {
  Allowance allowance(10.0, 2.0, kStart);
  allowance.Take(1000.0);
  EXPECT_EQ(allowance.taken(), 20.0);
  allowance.Refill(kStart + std::chrono::seconds(3600));
  EXPECT_EQ(allowance.taken(), 0.0);
}

TEST(Allowance, AnEarlierTimeGivesNothing) {
  Allowance allowance(10.0, 2.0, kStart);
  allowance.Take(10.0);
  allowance.Refill(kStart + std::chrono::seconds(1));
  allowance.Refill(kStart);
  EXPECT_EQ(allowance.taken(), 8.0);
  EXPECT_EQ(allowance.refilled(), kStart + std::chrono::seconds(1));
}

}  // namespace
}  // namespace latentd
