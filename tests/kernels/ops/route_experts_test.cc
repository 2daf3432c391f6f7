// RouteExperts on any backend: the published examples and a brute-force oracle.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/routing.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

struct Chosen {
  std::vector<int32_t> experts;  // [rows, experts_per_token]
  std::vector<float> weights;
};

class RouteExperts : public testing::Test {
 protected:
  Chosen Route(const std::vector<float>& logits, const std::vector<float>& bias, const RoutingRule& rule) {
    std::vector<std::vector<float>> rows;
    for (auto row = logits.begin(); row != logits.end(); row += rule.num_experts)
      rows.emplace_back(row, row + rule.num_experts);
    const DeviceRows device_logits(backend_, rows);
    const DeviceValues<float> device_bias(backend_, bias.empty() ? std::vector<float>(1) : bias);
    const size_t count = rows.size() * static_cast<size_t>(rule.experts_per_token);
    const DeviceValues<int32_t> experts(backend_, std::vector<int32_t>(count, -1));
    const DeviceValues<float> weights(backend_, std::vector<float>(count, -1.0f));
    backend_.ops->RouteExperts(device_logits.tensor(), bias.empty() ? nullptr : device_bias.get(), rule,
                               {experts.get(), weights.get(), device_logits.tensor().rows, rule.experts_per_token});
    return {experts.Get(), weights.Get()};
  }

  std::mt19937 random_{5};  // fixed: a failure repeats
  Backend backend_ = MakeTestBackend(SmallLimits());
};

// docs/spec/deepseek.md 3.6, examples (a) to (d).
const std::vector<float> kLogits = {0, 1, -1, 2, .5, .5, -2, 1.5};
const RoutingRule kRule = {
    .num_experts = 8, .experts_per_token = 3, .num_groups = 4, .groups_per_token = 2, .scale = 2.5f};

TEST_F(RouteExperts, BiasSelectsButDoesNotWeigh) {
  const Chosen chosen = Route(kLogits, {0, 0, .4f, 0, 0, .1f, .9f, -.3f}, kRule);
  EXPECT_THAT(chosen.experts, ElementsAre(6, 3, 2));
  EXPECT_THAT(chosen.weights, Pointwise(FloatNear(1e-6f), {0.234847f, 1.735299f, 0.529854f}));
}

TEST_F(RouteExperts, SoftmaxScoresWithGroupMaximumAreNotNormalized) {
  RoutingRule rule = kRule;
  rule.score = ExpertScore::kSoftmax;
  rule.group_score = GroupScore::kMax;
  rule.normalize = false;
  rule.scale = 16.0f;
  const Chosen chosen = Route(kLogits, {}, rule);
  EXPECT_THAT(chosen.experts, ElementsAre(3, 7, 2));
  EXPECT_THAT(chosen.weights, Pointwise(FloatNear(3e-6f), {6.097309f, 3.698205f, 0.303567f}));
}

TEST_F(RouteExperts, OtherGroupsLoseEvenToNegativeScores) {
  RoutingRule rule = kRule;
  rule.experts_per_token = 4;
  EXPECT_THAT(Route(kLogits, std::vector<float>(8, -2.0f), rule).experts, ElementsAre(1, 4, 5, 0));
}

TEST_F(RouteExperts, TiesGoToTheLowerIndex) {
  const Chosen chosen = Route(std::vector<float>(8, 0.0f), std::vector<float>(8, 0.0f), kRule);
  EXPECT_THAT(chosen.experts, ElementsAre(0, 1, 2));
  EXPECT_THAT(chosen.weights, Pointwise(FloatNear(1e-6f), {2.5f / 3, 2.5f / 3, 2.5f / 3}));
}

TEST_F(RouteExperts, OneExpertIsNotNormalized) {
  RoutingRule rule = {.num_experts = 3, .experts_per_token = 1};
  EXPECT_THAT(Route({0, 1, -1}, {}, rule).weights, ElementsAre(FloatNear(0.7310586f, 1e-6f)));
  rule.experts_per_token = 3;
  const Chosen all = Route({0, 1, -1}, {}, rule);
  EXPECT_THAT(all.experts, ElementsAre(1, 0, 2));
  EXPECT_NEAR(all.weights[0] + all.weights[1] + all.weights[2], 1.0, 1e-6);
}

// Random rules and tokens. Where the oracle's scores are all but tied, single precision may choose otherwise.
TEST_F(RouteExperts, IsAsBruteForce) {
  const size_t num_tokens = TestTraits().name == "cpu" ? 2000 : 10;  // an emulator takes its time
  constexpr int kRules = 50;
  int compared = 0;
  for (int n = 0; n < kRules; ++n) {
    const auto below = [&](int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); };
    RoutingRule rule = {.num_groups = 1 + below(n % 5 == 0 ? 40 : 8)};
    const int size = 1 + below(n % 5 == 0 ? 12 : 64);
    rule.num_experts = rule.num_groups * size;
    rule.groups_per_token = 1 + below(rule.num_groups);
    rule.experts_per_token = 1 + below(std::min(8, size * rule.groups_per_token));
    rule.score = below(2) == 0 ? ExpertScore::kSoftmax : ExpertScore::kSigmoid;
    rule.group_score = below(2) == 0 ? GroupScore::kMax : GroupScore::kTopTwoSum;
    rule.normalize = below(2) == 0;
    rule.scale = 0.5f + static_cast<float>(below(4));
    std::normal_distribution<float> normal(0.0f, 2.0f);
    const auto experts = static_cast<size_t>(rule.num_experts), k = static_cast<size_t>(rule.experts_per_token);
    std::vector<float> logits(num_tokens * experts), bias(below(2) == 0 ? 0 : experts);
    for (float& x : logits) x = normal(random_);
    for (float& x : bias) x = 0.1f * normal(random_);
    const Chosen chosen = Route(logits, bias, rule);
    for (size_t t = 0; t < num_tokens; ++t) {
      const auto expected = reference::RouteToken(std::span(logits).subspan(t * experts, experts), bias, rule);
      if (expected.margin < 1e-6) continue;
      ++compared;
      double sum = 0.0;
      for (size_t i = 0; i < k; ++i) {
        ASSERT_EQ(chosen.experts[t * k + i], expected.experts[i].expert) << "rule " << n << " token " << t;
        const double weight = expected.experts[i].weight;
        ASSERT_NEAR(chosen.weights[t * k + i], weight, 2e-6 * weight + 1e-12) << "rule " << n << " token " << t;
        sum += chosen.weights[t * k + i];
      }
      if (rule.normalize && k > 1) {
        ASSERT_NEAR(sum, rule.scale, 1e-6 * rule.scale);
      }
    }
  }
  EXPECT_GT(compared, kRules * static_cast<int>(num_tokens) * 9 / 10);
}

TEST_F(RouteExperts, NonFiniteLogitsStillNameDistinctExperts) {
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> bad = {std::vector<float>(8, nan),
                                               std::vector<float>(8, infinity),
                                               std::vector<float>(8, -infinity),
                                               {nan, 1, infinity, -infinity, nan, nan, 0, nan}};
  for (const ExpertScore score : {ExpertScore::kSigmoid, ExpertScore::kSoftmax}) {
    RoutingRule rule = kRule;
    rule.score = score;
    rule.experts_per_token = 4;
    for (const std::vector<float>& logits : bad) {
      const std::vector<int32_t> experts = Route(logits, std::vector<float>(8, nan), rule).experts;
      EXPECT_EQ(std::set<int32_t>(experts.begin(), experts.end()).size(), 4u);
      EXPECT_THAT(experts, testing::Each(testing::AllOf(testing::Ge(0), testing::Lt(8))));
    }
  }
}

TEST_F(RouteExperts, ARowAloneEqualsTheRowInCompany) {
  for (const ExpertScore score : {ExpertScore::kSigmoid, ExpertScore::kSoftmax}) {
    const RoutingRule rule = {
        .num_experts = 72, .experts_per_token = 6, .num_groups = 8, .groups_per_token = 3, .score = score};
    std::vector<float> logits = RandomValues(9 * 72, random_);
    const std::vector<float> bias = RandomValues(72, random_);
    const Chosen company = Route(logits, bias, rule);
    const Chosen alone = Route({logits.begin() + 7 * 72, logits.begin() + 8 * 72}, bias, rule);
    EXPECT_TRUE(SameBytes(std::span(company.weights).subspan(7 * 6, 6), alone.weights));
    EXPECT_TRUE(std::equal(alone.experts.begin(), alone.experts.end(), company.experts.begin() + 7 * 6));
  }
}

}  // namespace
}  // namespace latentd
