#include "tools/load/arrivals.h"

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
  const std::vector<int64_t> moments = Take(ArrivalSchedule(Arrival::kConstant, 300.0, 1), 300'001);
  EXPECT_EQ(moments[0], 0);
  EXPECT_NEAR(static_cast<double>(moments[1]), 1e9 / 300.0, 1.0);
  EXPECT_NEAR(static_cast<double>(moments[300'000]), 1000e9, 1.0);
}

TEST(ArrivalSchedule, PoissonGapsHaveTheMeanAndTheDeviationOfTheRate) {
  constexpr int kCount = 100'000;
  const std::vector<int64_t> moments = Take(ArrivalSchedule(Arrival::kPoisson, 50.0, 7), kCount);
  double sum = 0.0;
  double squares = 0.0;
  for (size_t i = 1; i < moments.size(); ++i) {
    const double gap = static_cast<double>(moments[i] - moments[i - 1]) * 1e-9;
    ASSERT_GE(gap, 0.0);
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / (kCount - 1);
  const double deviation = std::sqrt(squares / (kCount - 1) - mean * mean);
  EXPECT_NEAR(mean, 0.02, 0.02 * 0.02);  // six standard errors
  EXPECT_NEAR(deviation, 0.02, 0.02 * 0.03);
}

TEST(ArrivalSchedule, SeedFixesIt) {
  EXPECT_EQ(Take(ArrivalSchedule(Arrival::kPoisson, 10.0, 3), 100),
            Take(ArrivalSchedule(Arrival::kPoisson, 10.0, 3), 100));
  EXPECT_NE(Take(ArrivalSchedule(Arrival::kPoisson, 10.0, 3), 100),
            Take(ArrivalSchedule(Arrival::kPoisson, 10.0, 4), 100));
}

}  // namespace
}  // namespace latentd
