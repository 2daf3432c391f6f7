#include "tools/load/sweep.h"

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

namespace latentd {
namespace {

// The levels that a sweep of a server with this outcome at each level runs.
std::vector<LevelOutcome> RunAll(const SweepOptions& options, const std::function<LevelOutcome(double)>& server) {
  std::vector<LevelOutcome> outcomes;
  while (const std::optional<double> level = NextLevel(outcomes, options)) {
    outcomes.push_back(server(*level));
    outcomes.back().level = *level;
    if (outcomes.size() > 40) break;
  }
  return outcomes;
}

std::vector<double> LevelsOf(const std::vector<LevelOutcome>& outcomes) {
  std::vector<double> levels;
  for (const LevelOutcome& outcome : outcomes) levels.push_back(outcome.level);
  return levels;
}

// A closed loop of a server that serves 20 at a time, 1 s each: throughput and latency by Little's law.
LevelOutcome ServesTwenty(double streams) {
  const double throughput = std::min(streams, 20.0);
  return {.power = throughput / (streams / throughput)};
}

TEST(Sweep, FindsTheKneeAndStops) {
  const SweepOptions options;
  const std::vector<LevelOutcome> outcomes = RunAll(options, ServesTwenty);
  EXPECT_EQ(LevelsOf(outcomes), (std::vector<double>{1, 2, 4, 8, 16, 32, 64, 23}));
  EXPECT_EQ(outcomes[*FindBest(outcomes, options)].level, 23.0);
}

TEST(Sweep, EndsAtItsLastLevelWhereThereIsNoKnee) {
  const SweepOptions options{.low = 3.0, .high = 10.0};
  const std::vector<LevelOutcome> outcomes = RunAll(options, [](double level) { return LevelOutcome{.power = level}; });
  EXPECT_EQ(LevelsOf(outcomes), (std::vector<double>{3, 6, 10, 8}));
  EXPECT_EQ(*FindBest(outcomes, options), 2u);
}

TEST(Sweep, OneBadLevelIsNoKnee) {
  const auto noisy = [](double level) { return LevelOutcome{.power = level == 4.0 ? 1.0 : std::min(level, 16.0)}; };
  const std::vector<LevelOutcome> outcomes = RunAll({.high = 64.0}, noisy);
  EXPECT_GE(outcomes[*FindBest(outcomes, {})].level, 16.0);
}

TEST(Sweep, FindsTheHighestLevelWithTheGoodput) {
  const SweepOptions options{.over = SweepOver::kRate, .goodput_fraction = 0.9};
  const auto server = [](double rate) { return LevelOutcome{.goodput = rate <= 37.0 ? 1.0 : 0.5}; };
  const std::vector<LevelOutcome> outcomes = RunAll(options, server);
  const double found = outcomes[*FindBest(outcomes, options)].level;
  EXPECT_LE(found, 37.0);
  EXPECT_GE(found, 37.0 / 1.1);
  EXPECT_LT(outcomes.size(), 12u);
}

TEST(Sweep, GoodLevelAboveABadOneIsLuck) {
  const SweepOptions options{.goodput_fraction = 0.9};
  EXPECT_EQ(*FindBest({{1, 0, 1.0}, {2, 0, 0.5}, {4, 0, 1.0}}, options), 0u);
  EXPECT_FALSE(FindBest({{1, 0, 0.5}}, options));
  EXPECT_FALSE(NextLevel({{1, 0, 0.5}}, options));
}

TEST(ParseLevels, TakesARange) {
  SweepOptions options;
  ASSERT_TRUE(ParseLevels("4:64", options).ok());
  EXPECT_EQ(options.low, 4.0);
  EXPECT_EQ(options.high, 64.0);
  for (const char* text : {"", "4", "0:4", "8:4", "1:x", "1:2:3", "1.5:4", "1:1e9"}) {
    EXPECT_FALSE(ParseLevels(text, options).ok()) << text;
  }
  options.over = SweepOver::kRate;
  EXPECT_TRUE(ParseLevels("0.5:4", options).ok());
}

}  // namespace
}  // namespace latentd
