// The bounds that rank.h and tenants.h promise, on a queue that is served for long.
#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/schedule/waiting_queue.h"
#include "tests/engine/schedule/standings.h"

namespace latentd {
namespace {

constexpr double kAgeingSeconds = 10.0;

// Requests that wait, by what is left of their prompts.
class Backlog {
 public:
  Standing& Add(std::string_view tenant, StandingParts parts) {
    parts.arrival = standings_.size();
    standings_.push_back(MakeStanding(tenants_.Enter(tenant), parts));
    left_[&standings_.back()] = parts.prompt_tokens;
    queue_.Add(standings_.back());
    return standings_.back();
  }

  // True where they were its last.
  bool Serve(Standing& standing, int64_t num_tokens) {
    tenants_.Charge(*standing.tenant, {.prompt_tokens = num_tokens});
    queue_.Remove(standing);
    int64_t& left = left_.at(&standing);
    left -= num_tokens;
    if (left == 0) {
      left_.erase(&standing);
      return true;
    }
    standing.SetStarts({.prompt_tokens = left, .tokens_per_second = kTokensPerSecond});
    queue_.Add(standing);
    return false;
  }

  Standing* First(double seconds) { return queue_.First(At(seconds)); }
  int64_t left(Standing& standing) const { return left_.at(&standing); }
  bool waits(Standing& standing) const { return left_.contains(&standing); }
  Tenants& tenants() { return tenants_; }

 private:
  Tenants tenants_{ThreeTenants()};
  WaitingQueue queue_{tenants_, FromSeconds(kAgeingSeconds)};
  std::list<Standing> standings_;
  std::map<Standing*, int64_t> left_;
};

// How far the difference of two sums moved between any two moments.
class Spread {
 public:
  void See(double difference) {
    least_ = std::min(least_, difference);
    most_ = std::max(most_, difference);
  }
  double widest() const { return most_ - least_; }

 private:
  double least_ = 0.0, most_ = 0.0;
};

// Tenants a, b and c always have requests that wait, others come and go. Ages differ by much more than ageing takes.
class FairnessRun {
 public:
  static constexpr int kMaxStepTokens = 512, kLongestPrompt = 700, kMostGenerated = 5;
  static constexpr int kRequestCost = kLongestPrompt + static_cast<int>(kCostOfGenerated) * kMostGenerated;

  explicit FairnessRun(uint64_t seed) : random_(seed) {
    backlog_.tenants().ForEachListed([this](const Tenant& tenant) { Refill(tenant); });
  }

  void Step() {
    seconds_ += Below(2000) / 1000.0;
    if (Below(4) == 0) AddOne("stranger " + std::to_string(Below(20)));
    for (int left = 1 + Below(kMaxStepTokens); left > 0;) {
      Standing& first = *backlog_.First(seconds_);
      Tenant& tenant = *first.tenant;
      const auto num_tokens = static_cast<int>(std::min<int64_t>(left, backlog_.left(first)));
      left -= num_tokens;
      const bool is_listed = tenant.is_listed;
      if (backlog_.Serve(first, num_tokens)) End(tenant);
      if (is_listed) Refill(tenant);
      See();
    }
  }

  double widest() const { return std::max(of_equals_.widest(), of_weights_.widest()); }
  int64_t service_of_others() { return backlog_.tenants().service_tokens_of_others(); }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  void AddOne(const std::string& name) {
    const int longest = name == "b" ? 60 : kLongestPrompt;
    backlog_.Add(name, {.received = seconds_, .prompt_tokens = 1 + Below(longest)});
  }

  void Refill(const Tenant& tenant) {
    while (tenant.num_sequences < 3) AddOne(tenant.name);
  }

  void End(Tenant& tenant) {
    backlog_.tenants().Charge(tenant, {.generated_tokens = Below(kMostGenerated + 1)});
    backlog_.tenants().Leave(tenant);
  }

  void See() {
    std::map<std::string, double> tokens;
    backlog_.tenants().ForEachListed([&](const Tenant& tenant) {
      tokens[tenant.name] = static_cast<double>(tenant.service_tokens) / tenant.rule.weight;
    });
    of_equals_.See(tokens["a"] - tokens["b"]);
    of_weights_.See(tokens["a"] - tokens["c"]);
  }

  std::mt19937_64 random_;
  Backlog backlog_;
  double seconds_ = 0.0;
  Spread of_equals_, of_weights_;
};

TEST(OrderBounds, TenantsThatWaitDifferByAStepAndARequestAtMost) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    FairnessRun run(seed);
    for (int step = 0; step < 1000; ++step) run.Step();
    EXPECT_LE(run.widest(), FairnessRun::kMaxStepTokens + FairnessRun::kRequestCost);
    EXPECT_GT(run.service_of_others(), 1000);
  }
}

// One request a second is served, and one of the highest priority comes each second, so that lower ones get a turn by
// ageing alone.
class AgeingRun {
 public:
  explicit AgeingRun(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 5; ++i) AddHigh();
  }

  // How long such a request waits, in seconds, if it comes after so many.
  double Wait(double received, std::string_view tenant, int priority) {
    while (seconds_ < received) Turn();
    Standing& probe = backlog_.Add(tenant, {.priority = priority, .received = received, .prompt_tokens = 1});
    while (backlog_.waits(probe) && seconds_ < received + 1000.0) Turn();
    return seconds_ - received;
  }

 private:
  void Turn() {
    seconds_ += 1.0;
    AddHigh();
    backlog_.Serve(*backlog_.First(seconds_), 1);
  }
  void AddHigh() {
    backlog_.Add(random_() % 2 == 0 ? "a" : "b",
                 {.priority = kHighestPriority, .received = seconds_, .prompt_tokens = 1});
  }

  std::mt19937_64 random_;
  Backlog backlog_;
  double seconds_ = 0.0;
};

TEST(OrderBounds, ALowPriorityWaitsNoLongerThanAgeingTakesBeyondTheHighest) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const double received = 20.0 + static_cast<double>(seed) * 1.3;
    const char* const tenant = seed % 2 == 0 ? "a" : "stranger";
    const double of_highest = AgeingRun(seed).Wait(received, tenant, kHighestPriority);
    for (int priority = kLowestPriority; priority < kHighestPriority; ++priority) {
      const double ageing = kAgeingSeconds * (kHighestPriority - priority);
      const double waited = AgeingRun(seed).Wait(received, tenant, priority);
      EXPECT_LE(waited, of_highest + ageing + 1.0) << "priority " << priority;
      EXPECT_GE(waited, ageing) << "priority " << priority;
    }
  }
}

// Short prompts keep the engine busy; the long one is as good as they are once it has waited for its length.
TEST(OrderBounds, ALongPromptWaitsNoLongerThanItsLengthIsWorth) {
  Backlog backlog;
  Standing& long_one = backlog.Add("a", {.received = 0.0, .prompt_tokens = 1000});
  const double worth = kAgeCredit * 1000 / kTokensPerSecond;
  double seconds = 0.0;
  const Standing* first = nullptr;
  while (first != &long_one && seconds < 1000.0) {
    seconds += 0.5;
    backlog.Add("a", {.received = seconds, .prompt_tokens = 10});
    Standing& next = *backlog.First(seconds);
    first = &next;
    if (first != &long_one) backlog.Serve(next, 10);
  }
  EXPECT_GE(seconds, worth - 1.0);
  EXPECT_LE(seconds, worth + 1.0);
}

}  // namespace
}  // namespace latentd
