#include "engine/schedule/rank.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/schedule/standings.h"

namespace latentd {
namespace {

class RankTest : public testing::Test {
 protected:
  static RankingMoment Moment(double seconds, int highest_priority = 0) {
    return {.now = At(seconds), .ageing = std::chrono::seconds(10), .highest_priority = highest_priority};
  }
  // Both ways, since it is an order.
  static void ExpectBefore(const Standing& a, const Standing& b, const RankingMoment& moment) {
    EXPECT_TRUE(RanksBefore(a, b, moment));
    EXPECT_FALSE(RanksBefore(b, a, moment));
  }

  Tenants tenants_{ThreeTenants()};
  Tenant& a_ = tenants_.Enter("a");
  Tenant& b_ = tenants_.Enter("b");
};

TEST_F(RankTest, TheHigherPriorityGoesFirst) {
  tenants_.Charge(b_, {.prompt_tokens = 1000});
  const Standing low = MakeStanding(a_, {.priority = 0, .received = 0.0});
  const Standing high = MakeStanding(b_, {.priority = 1, .received = 1.0, .arrival = 1, .prompt_tokens = 1000});
  ExpectBefore(high, low, Moment(2.0, 1));
}

TEST_F(RankTest, AgeingRaisesByOneForEachPeriodOfWaiting) {
  const Standing standing = MakeStanding(a_, {.priority = -2, .received = 0.0});
  EXPECT_EQ(ClassOf(standing, Moment(-1.0, 8)), -2) << "a clock that was read before";
  EXPECT_EQ(ClassOf(standing, Moment(9.9, 8)), -2);
  EXPECT_EQ(ClassOf(standing, Moment(10.0, 8)), -1);
  EXPECT_EQ(ClassOf(standing, Moment(39.9, 8)), 1);
  EXPECT_EQ(ClassOf(standing, Moment(100.0, 8)), 8);
}

TEST_F(RankTest, AgeingEndsAtTheHighestPriorityThatWaits) {
  const Standing standing = MakeStanding(a_, {.priority = -2, .received = 0.0});
  EXPECT_EQ(ClassOf(standing, Moment(1e6, 1)), 1);
  EXPECT_EQ(ClassOf(standing, Moment(1e6, -2)), -2);
  EXPECT_EQ(ClassOf(standing, Moment(1e6, -8)), -2) << "it runs, and lower ones wait";
}

// What waits for long at one priority does not go before all that comes later.
TEST_F(RankTest, OldRequestsOfABusyTenantDoNotPassThoseOfAnother) {
  tenants_.Charge(a_, {.prompt_tokens = 1000});
  const Standing old = MakeStanding(a_, {.received = 0.0, .arrival = 1});
  const Standing late = MakeStanding(b_, {.received = 100.0, .arrival = 2, .prompt_tokens = 500});
  ExpectBefore(late, old, Moment(100.0));
}

TEST_F(RankTest, TheLeastServedTenantGoesFirstAndOfEqualsTheOlderAccount) {
  const Standing of_a = MakeStanding(a_, {.received = 1.0, .arrival = 2});
  const Standing of_b = MakeStanding(b_, {.received = 0.0, .arrival = 1});
  ExpectBefore(of_a, of_b, Moment(2.0));
  tenants_.Charge(a_, {.prompt_tokens = 1});
  ExpectBefore(of_b, of_a, Moment(2.0));
}

TEST_F(RankTest, ADeadlineThatCanBeMetGoesFirstWhereItIsNear) {
  const Standing without = MakeStanding(a_, {.received = 0.0, .arrival = 1});
  const Standing tight = MakeStanding(a_, {.received = 1.0, .arrival = 2, .prompt_tokens = 200, .due = At(10.0)});
  const Standing loose = MakeStanding(a_, {.received = 1.0, .arrival = 3, .prompt_tokens = 150, .due = At(10.0)});
  EXPECT_EQ(tight.latest_start, At(8.0));
  ExpectBefore(without, tight, Moment(6.9));
  ExpectBefore(loose, tight, Moment(6.9));
  ExpectBefore(tight, loose, Moment(8.0));
  ExpectBefore(loose, without, Moment(8.0));
  ExpectBefore(loose, tight, Moment(8.1));
  ExpectBefore(without, tight, Moment(8.1));
}

TEST_F(RankTest, AShortPromptGoesBeforeALongOneUntilThatHasWaitedForItsLength) {
  // Ten seconds of prefill are made up for by forty seconds of waiting.
  const Standing long_one = MakeStanding(a_, {.received = 0.0, .arrival = 1, .prompt_tokens = 1000});
  const Standing soon = MakeStanding(a_, {.received = 39.0, .arrival = 2, .prompt_tokens = 10});
  const Standing late = MakeStanding(a_, {.received = 40.0, .arrival = 3, .prompt_tokens = 10});
  ExpectBefore(soon, long_one, Moment(50.0));
  ExpectBefore(long_one, late, Moment(50.0));
}

TEST_F(RankTest, WithoutAMeasuredRateArrivalDecides) {
  Standing standing{.tenant = &a_, .received = At(3.0)};
  standing.SetStarts({.prompt_tokens = 1'000'000, .tokens_per_second = 0.0, .due = At(9.0)});
  EXPECT_EQ(standing.virtual_start, At(3.0));
  EXPECT_EQ(standing.latest_start, At(9.0));
}

TEST_F(RankTest, ARateOfNextToNothingLeavesTimesThatCanBeTold) {
  Standing standing{.tenant = &a_, .received = At(0.0)};
  standing.SetStarts({.prompt_tokens = 1 << 24, .tokens_per_second = 1e-9, .due = At(9.0)});
  EXPECT_GT(standing.virtual_start, At(1e6));
  EXPECT_LT(standing.latest_start, At(-0.9e6));
}

TEST_F(RankTest, WithinATenantWhatAgeingRaisedGoesBeforeItsEqualsTheOldestFirst) {
  const Standing high = MakeStanding(a_, {.priority = 1, .received = 0.0, .arrival = 1, .due = At(1000.0)});
  const Standing older = MakeStanding(a_, {.priority = -1, .received = 1.0, .arrival = 3, .prompt_tokens = 9000});
  const Standing raised = MakeStanding(a_, {.priority = 0, .received = 2.0, .arrival = 2});
  ExpectBefore(high, older, Moment(11.0, 1));
  ExpectBefore(raised, high, Moment(12.0, 1));
  ExpectBefore(raised, older, Moment(12.0, 1));
  ExpectBefore(older, raised, Moment(21.0, 1));
}

TEST_F(RankTest, TheLowestClassThenTheMostServedTenantThenTheLeastWorkLosesFirst) {
  tenants_.Charge(b_, {.prompt_tokens = 1000});
  const Standing of_a = MakeStanding(a_, {.received = 0.0, .arrival = 1});
  const Standing later = MakeStanding(a_, {.received = 1.0, .arrival = 2});
  const Standing of_b = MakeStanding(b_, {.received = 0.0, .arrival = 3});
  const Standing high = MakeStanding(b_, {.priority = 1, .received = 0.0, .arrival = 4});
  const RankingMoment moment = Moment(2.0);
  EXPECT_TRUE(LosesFirst({of_a, 900}, {high, 1}, moment));
  EXPECT_TRUE(LosesFirst({of_b, 900}, {of_a, 1}, moment));
  EXPECT_TRUE(LosesFirst({of_a, 1}, {later, 2}, moment));
  EXPECT_FALSE(LosesFirst({later, 2}, {of_a, 1}, moment));
  EXPECT_TRUE(LosesFirst({later, 2}, {of_a, 2}, moment));
}

// Orders of random sequences at random moments: of two exactly one is first, and three stand in a row.
TEST_F(RankTest, IsATotalOrder) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const auto below = [&random](int bound) { return static_cast<int>(random() % static_cast<uint64_t>(bound)); };
    std::vector<Standing> all;
    for (int i = 0; i < 40; ++i) {
      all.push_back(MakeStanding(below(2) == 0 ? a_ : b_, {.priority = below(4),
                                                           .received = below(8) * 5.0,
                                                           .arrival = static_cast<uint64_t>(i / 2),
                                                           .prompt_tokens = below(3) * 100,
                                                           .due = below(2) == 0 ? kNever : At(below(60))}));
      all.back().index = i % 2;
    }
    if (below(2) == 0) tenants_.Charge(a_, {.prompt_tokens = 1});
    const RankingMoment moment = Moment(40.0 + below(30), below(5));
    for (const Standing& x : all) {
      for (const Standing& y : all) {
        ASSERT_EQ(RanksBefore(x, y, moment) + RanksBefore(y, x, moment), &x == &y ? 0 : 1);
        for (const Standing& z : all) {
          const bool is_row = RanksBefore(x, y, moment) && RanksBefore(y, z, moment);
          ASSERT_TRUE(!is_row || RanksBefore(x, z, moment));
        }
      }
    }
  }
}

}  // namespace
}  // namespace latentd
