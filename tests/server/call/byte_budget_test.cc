#include "server/call/byte_budget.h"

#include <chrono>
#include <deque>
#include <string>
#include <utility>
#include <vector>

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

constexpr ByteBudgetOptions kWithReserve{
    .max_bytes = 100, .small_bytes = 5, .reserved_bytes = 20, .grace = std::chrono::milliseconds(100)};
constexpr TimePoint kStart{};
constexpr auto kGrace = std::chrono::milliseconds(100);

// Shares that their owners offer, and let go when they are told.
class Owners {
 public:
  explicit Owners(ByteBudget& budget) : budget_(budget) {}

  bool Take(const std::string& peer, size_t num_bytes, TimePoint now = kStart) {
    Owner& owner = owners_.emplace_back();
    owner.peer = peer;
    if (!budget_.TryTake(peer, num_bytes, &owner.share, now)) return false;
    owner.share.OfferTo(now, [&owner] { owner.is_told = true; });
    return true;
  }
  // Who was told, in the order in which they came; they let go.
  std::vector<std::string> LetGo() {
    std::vector<std::string> told;
    for (Owner& owner : owners_) {
      if (owner.is_told && owner.share.num_bytes() > 0) told.push_back(owner.peer);
      if (owner.is_told) owner.share = {};
    }
    return told;
  }

 private:
  struct Owner {
    std::string peer;
    ByteBudget::Share share;
    bool is_told = false;
  };
  ByteBudget& budget_;
  std::deque<Owner> owners_;
};

using Names = std::vector<std::string>;

TEST(ByteBudget, SmallSharesFindRoomWhereLargeOnesTookAll) {
  ByteBudget budget(kWithReserve);
  ByteBudget::Share a, b, small;
  ASSERT_TRUE(budget.TryTake("a", 50, &a));
  EXPECT_FALSE(budget.TryTake("b", 31, &b));
  ASSERT_TRUE(budget.TryTake("b", 30, &b));
  EXPECT_TRUE(budget.TryTake("c", 5, &small));
  ByteBudget::Share more;
  EXPECT_FALSE(budget.TryTake("c", 6, &more));
  EXPECT_TRUE(budget.TryTake("a", 5, &more)) << "beyond its half, too";
}

TEST(ByteBudget, OfTheAddressThatHoldsMostTheOldestMakesRoom) {
  ByteBudget budget(kWithReserve);
  Owners owners(budget);
  EXPECT_TRUE(owners.Take("ipv4:1.1.1.1:1", 10));
  EXPECT_TRUE(owners.Take("ipv4:1.1.1.1:2", 12));
  EXPECT_TRUE(owners.Take("ipv4:1.1.1.1:2", 20));
  EXPECT_TRUE(owners.Take("ipv4:2.2.2.2:1", 35));
  EXPECT_TRUE(owners.Take("ipv4:3.3.3.3:1", 9)) << "that address holds more than a third";
  EXPECT_EQ(owners.LetGo(), Names{"ipv4:1.1.1.1:2"}) << "of its connections the one that holds most";
  EXPECT_EQ(budget.taken_bytes(), 74u);
  EXPECT_FALSE(owners.Take("ipv4:2.2.2.2:2", 9)) << "it holds most itself";
}

TEST(ByteBudget, WithinItsPartAShareKeepsItsRoomForTheGrace) {
  ByteBudget budget(kWithReserve);
  Owners owners(budget);
  for (const char* peer : {"a", "b", "c", "d"}) EXPECT_TRUE(owners.Take(peer, 20));
  EXPECT_FALSE(owners.Take("e", 10));
  EXPECT_TRUE(owners.Take("e", 10, kStart + kGrace));
  EXPECT_EQ(owners.LetGo(), Names{"a"});
  EXPECT_FALSE(owners.Take("f", 20, kStart + kGrace)) << "as much as each of the others";
  EXPECT_EQ(budget.taken_bytes(), 70u);
}

TEST(ByteBudget, WhoIsToldToGoIsWaitedForBeforeManyAre) {
  ByteBudget budget(kWithReserve);
  Owners owners(budget);
  for (const char* peer : {"a", "b", "c", "d"}) EXPECT_TRUE(owners.Take(peer, 20));
  EXPECT_TRUE(owners.Take("e", 15, kStart + kGrace));
  EXPECT_FALSE(owners.Take("f", 15, kStart + kGrace)) << "their bytes are still there";
  EXPECT_EQ(owners.LetGo(), Names{"a"});
  EXPECT_TRUE(owners.Take("f", 15, kStart + kGrace));
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
