#include "tools/load/arrivals.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

std::vector<int64_t> Take(ArrivalSchedule schedule, int count) {
  std::vector<int64_t> moments;
  for (int i = 0; i < count; ++i) moments.push_back(schedule.Next());
  return moments;
}

TEST(ArrivalSchedule, ConstantGapsDoNotDrift) {
  const std::vector<int64_t> moments =
      Take(ArrivalSchedule(*ParseArrival("constant"), {300.0, 300.0}, 1.0, 1), 300'001);
  EXPECT_EQ(moments[0], 0);
  EXPECT_NEAR(static_cast<double>(moments[1]), 1e9 / 300.0, 1.0);
  EXPECT_NEAR(static_cast<double>(moments[300'000]), 1000e9, 1.0);
}

struct Gaps {
  double mean = 0.0;
  double deviation = 0.0;
};

Gaps GapsOf(const std::vector<int64_t>& moments) {
  double sum = 0.0;
  double squares = 0.0;
  for (size_t i = 1; i < moments.size(); ++i) {
    const double gap = static_cast<double>(moments[i] - moments[i - 1]) * 1e-9;
    EXPECT_GE(gap, 0.0);
    sum += gap;
    squares += gap * gap;
  }
  const auto count = static_cast<double>(moments.size() - 1);
  return {.mean = sum / count, .deviation = std::sqrt(squares / count - sum / count * sum / count)};
}

ArrivalSchedule At50(const char* arrival, uint64_t seed) {
  return ArrivalSchedule(*ParseArrival(arrival), {50.0, 50.0}, 1.0, seed);
}

TEST(ArrivalSchedule, PoissonGapsHaveTheMeanAndTheDeviationOfTheRate) {
  const Gaps gaps = GapsOf(Take(At50("poisson", 7), 100'000));
  EXPECT_NEAR(gaps.mean, 0.02, 0.02 * 0.02);  // six standard errors
  EXPECT_NEAR(gaps.deviation, 0.02, 0.02 * 0.03);
}

TEST(ArrivalSchedule, GammaGapsDeviateByTheRootOfTheirShape) {
  for (const double shape : {0.25, 4.0}) {
    const Gaps gaps = GapsOf(Take(At50(shape < 1.0 ? "gamma:0.25" : "gamma:4", 7), 200'000));
    EXPECT_NEAR(gaps.mean, 0.02, 0.02 * 0.03) << shape;
    EXPECT_NEAR(gaps.deviation, 0.02 / std::sqrt(shape), 0.02 / std::sqrt(shape) * 0.05) << shape;
  }
}

TEST(ArrivalSchedule, SeedFixesIt) {
  for (const char* arrival : {"poisson", "gamma:0.5"}) {
    EXPECT_EQ(Take(At50(arrival, 3), 100), Take(At50(arrival, 3), 100));
    EXPECT_NE(Take(At50(arrival, 3), 100), Take(At50(arrival, 4), 100));
  }
}

size_t NumBefore(const std::vector<int64_t>& moments, double seconds) {
  const auto end = std::lower_bound(moments.begin(), moments.end(), static_cast<int64_t>(seconds * 1e9));
  return static_cast<size_t>(end - moments.begin());
}

TEST(ArrivalSchedule, RampChangesTheRateLinearly) {
  // 10 to 30 a second within 20 s: 15 on average in the first half, 25 in the second.
  const std::vector<int64_t> up = Take(ArrivalSchedule(*ParseArrival("constant"), {10.0, 30.0}, 20.0, 1), 401);
  EXPECT_NEAR(static_cast<double>(NumBefore(up, 10.0)), 150.0, 1.0);
  EXPECT_NEAR(static_cast<double>(NumBefore(up, 20.0)), 400.0, 1.0);
  const std::vector<int64_t> down = Take(ArrivalSchedule(*ParseArrival("constant"), {30.0, 10.0}, 20.0, 1), 401);
  EXPECT_NEAR(static_cast<double>(NumBefore(down, 10.0)), 250.0, 1.0);
  EXPECT_NEAR(static_cast<double>(NumBefore(down, 20.0)), 400.0, 1.0);
}

TEST(ArrivalSchedule, RateThatFallsPastNothingEndsIt) {
  // 10 to 1 in a second falls to 0 at 10 / 9 s, with 50 / 9 arrivals before.
  EXPECT_EQ(Take(ArrivalSchedule(*ParseArrival("constant"), {10.0, 1.0}, 1.0, 1), 8).back(), kNeverArrives);
}

TEST(ArrivalSchedule, RecordedMomentsComeAsTheyAreOrAtARate) {
  EXPECT_EQ(Take(ArrivalSchedule({0.0, 0.5, 2.0}, 0.0), 4),
            (std::vector<int64_t>{0, 500'000'000, 2'000'000'000, kNeverArrives}));
  // Two gaps at four a second: half a second in all.
  EXPECT_EQ(Take(ArrivalSchedule({0.0, 0.5, 2.0}, 4.0), 3), (std::vector<int64_t>{0, 125'000'000, 500'000'000}));
}

TEST(ParseArrival, TakesItsThreeForms) {
  for (const char* text : {"constant", "poisson", "gamma:0.25"}) EXPECT_EQ(ParseArrival(text)->ToString(), text);
  EXPECT_EQ(ParseArrival("gamma:1")->ToString(), "poisson");
  for (const char* text : {"", "gamma", "gamma:", "gamma:0", "gamma:-1", "gamma:nan", "uniform", "constant:1"}) {
    EXPECT_FALSE(ParseArrival(text).ok()) << text;
  }
}

TEST(ParseRate, TakesANumberOrARamp) {
  EXPECT_FALSE(ParseRate("40")->is_ramp());
  EXPECT_EQ(ParseRate("40")->ToString(), "40");
  EXPECT_EQ(ParseRate("5:50")->ToString(), "5:50");
  EXPECT_EQ(ParseRate("5:50")->mean(), 27.5);
  for (const char* text : {"", "0", "-1", "1:", ":1", "1:0", "1:2:3", "x", "1e9", "nan"}) {
    EXPECT_FALSE(ParseRate(text).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
