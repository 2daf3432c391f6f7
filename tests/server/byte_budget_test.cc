#include "server/byte_budget.h"

#include <utility>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(ByteBudget, PeerGetsHalfAndAllTogetherTheWhole) {
  std::atomic<int64_t> held = 0;
  ByteBudget budget(100, &held);
  ByteBudget::Share a, b, c;
  EXPECT_FALSE(budget.TryTake("a", 51, &a));
  EXPECT_TRUE(budget.TryTake("a", 50, &a));
  ByteBudget::Share more;
  EXPECT_FALSE(budget.TryTake("a", 1, &more));
  EXPECT_TRUE(budget.TryTake("b", 40, &b));
  EXPECT_FALSE(budget.TryTake("c", 11, &c));
  EXPECT_TRUE(budget.TryTake("c", 10, &c));
  EXPECT_EQ(budget.taken_bytes(), 100u);
  EXPECT_EQ(held, 100);
}

TEST(ByteBudget, ShareGivesBackWhatItHolds) {
  ByteBudget budget(100);
  {
    ByteBudget::Share share, other;
    ASSERT_TRUE(budget.TryTake("a", 30, &share));
    share.Resize(10);
    EXPECT_EQ(budget.taken_bytes(), 10u);
    other = std::move(share);
    EXPECT_EQ(budget.taken_bytes(), 10u);
    EXPECT_EQ(share.num_bytes(), 0u);
    ASSERT_TRUE(budget.TryTake("a", 20, &other)) << "a share that is taken anew gives back what it had";
    EXPECT_EQ(budget.taken_bytes(), 20u);
    other.Resize(200);
    EXPECT_EQ(budget.taken_bytes(), 200u) << "an answer that is there can't be refused any more";
    EXPECT_FALSE(budget.TryTake("b", 1, &share));
  }
  EXPECT_EQ(budget.taken_bytes(), 0u);
}

TEST(ByteBudget, RefusalLeavesTheShareAsItWas) {
  ByteBudget budget(100);
  ByteBudget::Share share;
  ASSERT_TRUE(budget.TryTake("a", 30, &share));
  EXPECT_FALSE(budget.TryTake("a", 40, &share));
  EXPECT_EQ(share.num_bytes(), 30u);
}

}  // namespace
}  // namespace latentd
