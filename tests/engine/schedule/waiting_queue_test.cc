#include "engine/schedule/waiting_queue.h"

#include <algorithm>
#include <list>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/schedule/standings.h"

namespace latentd {
namespace {

constexpr Duration kAgeing = std::chrono::seconds(10);

class WaitingQueueTest : public testing::Test {
 protected:
  // At an address that stays.
  Standing& Make(Tenant& tenant, const StandingParts& parts) {
    standings_.push_back(MakeStanding(tenant, parts));
    return standings_.back();
  }
  Standing& Add(Tenant& tenant, const StandingParts& parts) {
    Standing& standing = Make(tenant, parts);
    queue_.Add(standing);
    return standing;
  }

  Tenants tenants_{ThreeTenants()};
  Tenant& a_ = tenants_.Enter("a");
  Tenant& b_ = tenants_.Enter("b");
  Tenant& c_ = tenants_.Enter("c");
  WaitingQueue queue_{tenants_, kAgeing};
  std::list<Standing> standings_;
};

TEST_F(WaitingQueueTest, AnEmptyOneHasNoFirst) {
  EXPECT_EQ(queue_.First(At(0.0)), nullptr);
  Standing& only = Add(a_, {});
  EXPECT_EQ(queue_.First(At(0.0)), &only);
  EXPECT_EQ(queue_.size(), 1);
  queue_.Remove(only);
  EXPECT_EQ(queue_.First(At(0.0)), nullptr);
  EXPECT_EQ(queue_.size(), 0);
}

TEST_F(WaitingQueueTest, KnowsHowManyOfEachPriorityWait) {
  EXPECT_EQ(queue_.highest_priority(), kLowestPriority);
  Add(a_, {.priority = -3});
  Add(b_, {.priority = 5, .arrival = 1});
  Standing& high = Add(b_, {.priority = 8, .arrival = 2});
  EXPECT_EQ(queue_.size_of(-3), 1);
  EXPECT_EQ(queue_.size_of(0), 0);
  EXPECT_EQ(queue_.highest_priority(), 8);
  queue_.Remove(high);
  EXPECT_EQ(queue_.highest_priority(), 5);
  EXPECT_EQ(queue_.size_of(8), 0);
}

TEST_F(WaitingQueueTest, ServicesThatGrewSinceChangeTheFirst) {
  Standing& of_a = Add(a_, {.arrival = 1});
  Standing& of_b = Add(b_, {.arrival = 2});
  EXPECT_EQ(queue_.First(At(0.0)), &of_a);
  tenants_.Charge(a_, {.prompt_tokens = 2});
  EXPECT_EQ(queue_.First(At(0.0)), &of_b);
  tenants_.Charge(b_, {.prompt_tokens = 3});
  EXPECT_EQ(queue_.First(At(0.0)), &of_a);
}

TEST_F(WaitingQueueTest, WhatCannotBeInTimeAnyMoreGoesByItsLengthAndCanBeRemoved) {
  Standing& plain = Add(a_, {.received = 0.0, .arrival = 1});
  Standing& due = Add(a_, {.received = 0.0, .arrival = 2, .prompt_tokens = 100, .due = At(5.0)});
  Standing& also_due = Add(a_, {.received = 0.0, .arrival = 3, .prompt_tokens = 100, .due = At(5.5)});
  EXPECT_EQ(queue_.First(At(2.9)), &plain);
  EXPECT_EQ(queue_.First(At(4.0)), &due);
  EXPECT_EQ(queue_.First(At(4.1)), &also_due);
  EXPECT_EQ(queue_.First(At(4.6)), &plain);
  queue_.Remove(plain);
  EXPECT_EQ(queue_.First(At(4.6)), &due);
  queue_.Remove(due);
  EXPECT_EQ(queue_.First(At(4.6)), &also_due);
}

// A raised one is first, but ageing does not count for whether it takes a running one's place.
TEST_F(WaitingQueueTest, TheFirstAboveAPriorityIsPlain) {
  Standing& raised = Add(a_, {.priority = 0, .received = 0.0, .arrival = 1});
  Standing& high = Add(b_, {.priority = 2, .received = 19.0, .arrival = 2});
  EXPECT_EQ(queue_.First(At(19.9)), &high);
  EXPECT_EQ(queue_.First(At(20.0)), &raised);
  EXPECT_EQ(queue_.FirstAbove(0, At(20.0)), &high);
  EXPECT_EQ(queue_.FirstAbove(2, At(20.0)), nullptr);
}

TEST_F(WaitingQueueTest, AnIdleTenantStartsAtTheLeastServiceOfThoseThatWait) {
  tenants_.Charge(a_, {.prompt_tokens = 700});
  tenants_.Charge(b_, {.prompt_tokens = 500});
  Add(a_, {.arrival = 1});
  Add(b_, {.arrival = 2});
  EXPECT_EQ(b_.service, 700.0) << "none but a waited";
  tenants_.Charge(a_, {.prompt_tokens = 50});
  Add(c_, {.arrival = 3});
  EXPECT_EQ(c_.service, 700.0);
  tenants_.Charge(a_, {.prompt_tokens = 50});
  tenants_.Charge(b_, {.prompt_tokens = 100});
  Add(c_, {.arrival = 4});
  EXPECT_EQ(c_.service, 700.0) << "it waits already";
}

TEST_F(WaitingQueueTest, WhereNoneWaitsNoneOwesForWhatItHad) {
  tenants_.Charge(a_, {.prompt_tokens = 700});
  Add(b_, {});
  EXPECT_EQ(b_.service, 700.0);
}

// One that only decodes stays far below those that compete; a newcomer at its level would go before all of them.
TEST_F(WaitingQueueTest, ATenantThatOnlyRunsIsNotAsked) {
  tenants_.Charge(a_, {.prompt_tokens = 700});
  tenants_.Charge(b_, {.generated_tokens = 1});
  Add(a_, {.arrival = 1});
  Add(c_, {.arrival = 2});
  EXPECT_EQ(c_.service, 700.0);
}

TEST_F(WaitingQueueTest, ADebtStays) {
  Add(a_, {.arrival = 1});
  tenants_.Charge(b_, {.prompt_tokens = 700});
  Add(b_, {.arrival = 2});
  EXPECT_EQ(b_.service, 700.0);
}

// Random operations, time and services that move on; the first is that of a walk over all.
class RandomQueue {
 public:
  explicit RandomQueue(uint64_t seed) : random_(seed) {
    for (const char* name : {"a", "b", "c", "x", "y"}) all_.push_back(&tenants_.Enter(name));
  }

  void Run(int num_operations) {
    for (int i = 0; i < num_operations && !testing::Test::HasFailure(); ++i) {
      // Grows to hundreds and shrinks again.
      const int num_to_remove = i % 1000 < 600 ? 3 : 6;
      const int kind = Below(12);
      if (kind < 5) AddOne();
      if (kind >= 12 - num_to_remove) RemoveOne();
      if (Below(3) == 0) tenants_.Charge(*all_[static_cast<size_t>(Below(5))], {.prompt_tokens = Below(300)});
      if (Below(2) == 0) seconds_ += Below(100) / 100.0;
      Check(i);
    }
    while (!waiting_.empty() && !testing::Test::HasFailure()) {
      Check(-1);
      TakeOut(queue_.First(At(seconds_)));
    }
  }
  size_t most() const { return most_; }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  // A new one, or one that had left: it comes back with less or more to compute.
  void AddOne() {
    Standing* standing = nullptr;
    if (!removed_.empty() && Below(3) == 0) {
      std::swap(removed_[static_cast<size_t>(Below(static_cast<int>(removed_.size())))], removed_.back());
      standing = removed_.back();
      removed_.pop_back();
    } else {
      standings_.push_back({.tenant = all_[static_cast<size_t>(Below(5))],
                            .priority = Below(2) == 0 ? 0 : Below(5) - 2,
                            .received = At(seconds_ - Below(3)),
                            .arrival = standings_.size() / 3,
                            .index = static_cast<int32_t>(standings_.size() % 3)});
      standing = &standings_.back();
    }
    const TimePoint due = Below(3) > 0 ? kNever : At(seconds_ + Below(40));
    standing->SetStarts({.prompt_tokens = Below(500), .tokens_per_second = 100.0, .due = due});
    queue_.Add(*standing);
    waiting_.push_back(standing);
    most_ = std::max(most_, waiting_.size());
  }

  void RemoveOne() {
    if (waiting_.empty()) return;
    TakeOut(Below(2) == 0 ? waiting_[static_cast<size_t>(Below(static_cast<int>(waiting_.size())))]
                          : queue_.First(At(seconds_)));
  }

  void TakeOut(Standing* standing) {
    queue_.Remove(*standing);
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), standing));
    removed_.push_back(standing);
  }

  Standing* FirstByWalking(int above) const {
    RankingMoment moment{.now = At(seconds_), .ageing = kAgeing, .highest_priority = kLowestPriority};
    for (const Standing* it : waiting_) moment.highest_priority = std::max(moment.highest_priority, it->priority);
    Standing* first = nullptr;
    for (Standing* it : waiting_) {
      if (it->priority > above && (first == nullptr || RanksBefore(*it, *first, moment))) first = it;
    }
    return first;
  }

  void Check(int operation) {
    ASSERT_EQ(queue_.First(At(seconds_)), FirstByWalking(kLowestPriority - 1)) << "operation " << operation;
    const int above = Below(6) - 3;
    ASSERT_EQ(queue_.FirstAbove(above, At(seconds_)), FirstByWalking(above)) << "operation " << operation;
    ASSERT_EQ(queue_.size(), static_cast<int>(waiting_.size()));
  }

  std::mt19937_64 random_;
  Tenants tenants_{ThreeTenants()};
  WaitingQueue queue_{tenants_, kAgeing};
  std::vector<Tenant*> all_;
  std::list<Standing> standings_;
  std::vector<Standing*> waiting_;
  std::vector<Standing*> removed_;
  double seconds_ = 0.0;
  size_t most_ = 0;
};

TEST(WaitingQueueRandom, TheFirstIsThatOfAWalkOverAll) {
  size_t most = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomQueue queue(seed);
    queue.Run(3000);
    most = std::max(most, queue.most());
  }
  EXPECT_GT(most, 100u);
}

}  // namespace
}  // namespace latentd
