#include "engine/step/speculation.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <utility>

#include <gtest/gtest.h>

namespace latentd {
namespace {

// Seconds of a step whose rows verify so many drafts each, and are asked for so many.
struct StepShape {
  int num_rows = 1;
  int num_verified = 0;
  int num_asked = 0;
};
using StepCost = std::function<double(const StepShape&)>;

// Weights are read once a step, however few tokens there are; a tenth of them is the module's.
double WaitsForWeights(const StepShape& step) {
  const int num_tokens = step.num_rows * (1 + step.num_verified);
  return 1.0 + 0.01 * num_tokens + 0.1 * step.num_asked;
}

// Each token costs the same, and the module a fifth of the model.
double Multiplies(const StepShape& step) {
  const int num_tokens = step.num_rows * (1 + step.num_verified);
  return 0.1 + num_tokens + (step.num_asked > 0 ? 0.2 * num_tokens + 0.2 * step.num_rows * (step.num_asked - 1) : 0.0);
}

// An engine in virtual time, whose drafts are right with a given chance.
class Engine {
 public:
  Engine(int max_drafts, StepCost cost) : speculation(max_drafts), cost_(std::move(cost)) {}

  // As the machine is shared: each step takes a little more or less, and one of twenty much longer.
  void MakeNoisy() { is_noisy_ = true; }
  void SetCost(StepCost cost) { cost_ = std::move(cost); }

  void Run(int num_rows, int num_steps, double acceptance) {
    for (int step = 0; step < num_steps; ++step) RunStep(num_rows, acceptance);
  }

  // The same tokens without drafts, over what they took: 1.1 is a tenth faster.
  double Speedup() const { return off_seconds_ / seconds_; }
  void StartCounting() { seconds_ = off_seconds_ = 0.0; }

  Speculation speculation;

 private:
  void RunStep(int num_rows, double acceptance) {
    const int num_verified = std::exchange(num_asked_, speculation.DraftsFor(num_rows));
    double num_tokens = 0.0;
    for (int row = 0; row < num_rows; ++row) {
      int num_accepted = 0;
      while (num_accepted < num_verified && chance_(random_) < acceptance) ++num_accepted;
      speculation.CountDrafts(num_verified, num_accepted);
      num_tokens += 1 + num_accepted;
    }
    const double noise = Noise();
    const double taken = noise * cost_({num_rows, num_verified, num_asked_});
    const bool is_steady = num_verified == num_asked_;
    speculation.Observe(
        {.num_rows = num_rows, .num_drafts = is_steady ? std::optional(num_verified) : std::nullopt, .seconds = taken});
    seconds_ += taken;
    off_seconds_ += MeanNoise() * cost_({num_rows, 0, 0}) * num_tokens / num_rows;
  }

  double Noise() {
    if (!is_noisy_) return 1.0;
    return (0.95 + 0.1 * chance_(random_)) * (chance_(random_) < 0.05 ? 3.0 : 1.0);
  }
  double MeanNoise() const { return is_noisy_ ? 1.1 : 1.0; }

  StepCost cost_;
  bool is_noisy_ = false;
  std::mt19937 random_{1};
  std::uniform_real_distribution<double> chance_;
  int num_asked_ = 0;
  double seconds_ = 0.0, off_seconds_ = 0.0;
};

// What all steps with k drafts would gain.
double SpeedupOf(int k, int num_rows, double acceptance, const StepCost& cost) {
  double tokens = 1.0, reached = 1.0;
  for (int draft = 0; draft < k; ++draft) tokens += reached *= acceptance;
  return tokens * cost({num_rows, 0, 0}) / cost({num_rows, k, k});
}

double BestSpeedup(int max_drafts, int num_rows, double acceptance, const StepCost& cost) {
  double best = 1.0;
  for (int k = 1; k <= max_drafts; ++k) best = std::max(best, SpeedupOf(k, num_rows, acceptance, cost));
  return best;
}

constexpr int kNumRows[] = {1, 4, 16, 32};
constexpr double kAcceptances[] = {0.0, 0.3, 0.6, 0.85};

TEST(Speculation, WithoutAModuleThereIsNothingToChoose) {
  Engine engine(0, WaitsForWeights);
  engine.Run(1, 500, 1.0);
  EXPECT_EQ(engine.speculation.DraftsFor(1), 0);
}

TEST(Speculation, CountsADraftOnlyWhereAllBeforeItWereRight) {
  Speculation speculation(3);
  for (int row = 0; row < 2000; ++row) speculation.CountDrafts(3, row % 2 == 0 ? 0 : 2);
  // The first is right in half of the rows; then the second always is, and the third never.
  EXPECT_NEAR(speculation.TokensWith(1), 1.5, 0.01);
  EXPECT_NEAR(speculation.TokensWith(2), 2.0, 0.02);
  EXPECT_NEAR(speculation.TokensWith(3), 2.0, 0.04);
}

TEST(Speculation, FindsWhatPays) {
  for (const int num_rows : kNumRows) {
    for (const double acceptance : kAcceptances) {
      Engine engine(4, WaitsForWeights);
      engine.Run(num_rows, 300, acceptance);
      engine.StartCounting();
      engine.Run(num_rows, 5000, acceptance);
      EXPECT_GE(engine.Speedup(), 0.97 * BestSpeedup(4, num_rows, acceptance, WaitsForWeights))
          << num_rows << " rows, acceptance " << acceptance;
    }
  }
}

TEST(Speculation, IsNeverSlowerThanWithoutDrafts) {
  for (const StepCost& cost : {StepCost(WaitsForWeights), StepCost(Multiplies)}) {
    for (const int num_rows : kNumRows) {
      for (const double acceptance : kAcceptances) {
        Engine engine(8, cost);
        engine.Run(num_rows, 1000, acceptance);  // from the first step on, first looks included
        EXPECT_GE(engine.Speedup(), 0.98) << num_rows << " rows, acceptance " << acceptance;
        engine.StartCounting();
        engine.Run(num_rows, 5000, acceptance);
        EXPECT_GE(engine.Speedup(), 0.99) << num_rows << " rows, acceptance " << acceptance;
      }
    }
  }
}

TEST(Speculation, IsNotFooledByNeighboursOnTheMachine) {
  for (const int num_rows : kNumRows) {
    for (const double acceptance : kAcceptances) {
      Engine engine(4, Multiplies);
      engine.MakeNoisy();
      engine.Run(num_rows, 300, acceptance);
      engine.StartCounting();
      engine.Run(num_rows, 5000, acceptance);
      EXPECT_GE(engine.Speedup(), 0.98) << num_rows << " rows, acceptance " << acceptance;
    }
  }
}

TEST(Speculation, ASlowerMachineChangesNothing) {
  Engine engine(4, WaitsForWeights);
  engine.Run(1, 1000, 0.85);
  const int chosen = engine.speculation.DraftsFor(1);
  engine.SetCost([](const StepShape& step) { return 3.0 * WaitsForWeights(step); });
  engine.StartCounting();
  engine.Run(1, 2000, 0.85);
  EXPECT_EQ(engine.speculation.DraftsFor(1), chosen);
  EXPECT_GE(engine.Speedup(), 0.97 * BestSpeedup(4, 1, 0.85, WaitsForWeights));
}

TEST(Speculation, UnderLoadItFallsBackToNone) {
  Engine engine(4, WaitsForWeights);
  engine.Run(1, 500, 0.3);
  EXPECT_GT(engine.speculation.DraftsFor(1), 0);
  engine.StartCounting();
  engine.Run(64, 500, 0.3);
  EXPECT_EQ(engine.speculation.DraftsFor(64), 0);
  EXPECT_GE(engine.Speedup(), 0.97);
  engine.Run(1, 1, 0.3);
  EXPECT_GT(engine.speculation.DraftsFor(1), 0) << "what was learnt about one row stays";
}

TEST(Speculation, StopsWhereTextsBecomeHardToPredictAndStartsAgain) {
  Engine engine(4, WaitsForWeights);
  engine.Run(1, 500, 0.85);
  engine.Run(1, 500, 0.02);
  engine.StartCounting();
  engine.Run(1, 1000, 0.02);
  EXPECT_GE(engine.Speedup(), 0.98);
  engine.Run(1, 1000, 0.85);
  engine.StartCounting();
  engine.Run(1, 1000, 0.85);
  EXPECT_GE(engine.Speedup(), 0.97 * BestSpeedup(4, 1, 0.85, WaitsForWeights));
}

TEST(Speculation, StopsWhereTheMachineBeginsToMultiply) {
  Engine engine(4, WaitsForWeights);
  engine.Run(4, 500, 0.7);
  EXPECT_GT(engine.speculation.DraftsFor(4), 0);
  engine.SetCost(Multiplies);
  engine.Run(4, 100, 0.7);
  engine.StartCounting();
  engine.Run(4, 1000, 0.7);
  EXPECT_GE(engine.Speedup(), 0.98);
}

TEST(Speculation, ChangingNumbersOfRowsCostLittle) {
  for (const double acceptance : kAcceptances) {
    Engine engine(4, Multiplies);
    for (int round = 0; round < 1000; ++round) engine.Run(1 + round * 7 % 40, 12, acceptance);
    EXPECT_GE(engine.Speedup(), 0.98) << acceptance;
  }
}

TEST(Speculation, ShortTimesOfEachNumberOfRowsTeachEnough) {
  Engine engine(2, WaitsForWeights);
  const auto run = [&engine](int num_rounds) {
    for (int round = 0; round < num_rounds; ++round) {
      engine.Run(16, 25, 0.85);
      for (int num_rows = 15; num_rows > 0; --num_rows) engine.Run(num_rows, 2, 0.85);
    }
  };
  run(6);
  engine.StartCounting();
  run(6);
  EXPECT_GE(engine.Speedup(), 1.5);
}

// As where requests say themselves how many drafts they want.
TEST(Speculation, GivesUpALookThatNeverIsOne) {
  Speculation speculation(2);
  int num_asked = 0;
  for (int step = 0; step < 2000; ++step) {
    const int asked = speculation.DraftsFor(3);
    if (asked > 0) ++num_asked;
    speculation.Observe({.num_rows = 3, .num_drafts = asked > 0 ? std::nullopt : std::optional(0), .seconds = 1.0});
  }
  EXPECT_GT(num_asked, 0);
  EXPECT_LT(num_asked, 800);
}

TEST(Speculation, StepsOfOtherNumbersOfRowsAreNoPartOfALook) {
  Speculation speculation(1);
  while (speculation.DraftsFor(2) == 0) speculation.Observe({.num_rows = 2, .num_drafts = 0, .seconds = 1.0});
  EXPECT_EQ(speculation.DraftsFor(9), 0);
  for (int step = 0; step < 10; ++step) speculation.Observe({.num_rows = 9, .num_drafts = 1, .seconds = 100.0});
  EXPECT_EQ(speculation.DraftsFor(2), 1);
  for (int step = 0; step < 5; ++step) speculation.Observe({.num_rows = 2, .num_drafts = 1, .seconds = 1.1});
  EXPECT_EQ(speculation.DraftsFor(2), 1) << "the look found it to pay";
}

}  // namespace
}  // namespace latentd
