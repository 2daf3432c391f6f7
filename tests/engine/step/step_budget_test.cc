#include "engine/step/step_budget.h"

#include <limits>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(StepBudget, GrowsToWhatFitsTheTime) {
  StepBudget budget({.max_step_seconds = 0.1, .first_tokens = 64, .min_tokens = 16});
  EXPECT_EQ(budget.tokens(), 64);
  // A machine of 10 ms per step and 0.1 ms per token: 900 tokens fit.
  for (int step = 0; step < 30; ++step)
    budget.Observe({.all = static_cast<double>(budget.tokens())}, 0.01 + 0.0001 * budget.tokens());
  EXPECT_NEAR(budget.tokens(), 900, 10);
}

TEST(StepBudget, SmallQuickStepsDoNotLowerIt) {
  StepBudget budget({});
  for (int step = 0; step < 30; ++step)
    budget.Observe({.all = static_cast<double>(budget.tokens())}, 0.01 + 0.0001 * budget.tokens());
  const int learnt = budget.tokens();
  for (int step = 0; step < 100; ++step) budget.Observe({.all = 1}, 0.0101);
  EXPECT_EQ(budget.tokens(), learnt);
}

TEST(StepBudget, SlowStepsLowerItToTheFloor) {
  StepBudget budget({.max_step_seconds = 0.1, .min_tokens = 16});
  budget.Observe({.all = 64}, 0.01);
  EXPECT_EQ(budget.tokens(), 640);
  budget.Observe({.all = 100}, 1.0);
  EXPECT_EQ(budget.tokens(), 325);
  for (int step = 0; step < 30; ++step) budget.Observe({.all = static_cast<double>(budget.tokens())}, 10.0);
  EXPECT_EQ(budget.tokens(), 16);
}

TEST(StepBudget, WithoutALimitInTimeThereIsNone) {
  StepBudget budget({.max_step_seconds = std::numeric_limits<double>::infinity()});
  budget.Observe({.all = 1}, 100.0);
  EXPECT_EQ(budget.tokens(), std::numeric_limits<int>::max());
}

}  // namespace
}  // namespace latentd
