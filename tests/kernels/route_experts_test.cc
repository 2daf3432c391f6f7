// RouteExperts on the CPU: the same bits with any number of threads and any instruction set.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

struct Chosen {
  std::vector<int32_t> experts;  // [rows, experts_per_token]
  std::vector<float> weights;
};

Chosen Route(Ops& ops, std::vector<float> logits, const std::vector<float>& bias, const RoutingRule& rule) {
  const int rows = static_cast<int>(logits.size()) / rule.num_experts;
  const auto count = static_cast<size_t>(rows * rule.experts_per_token);
  Chosen chosen{std::vector<int32_t>(count, -1), std::vector<float>(count, -1.0f)};
  ops.RouteExperts({logits.data(), rows, rule.num_experts, rule.num_experts}, bias.empty() ? nullptr : bias.data(),
                   rule, {chosen.experts.data(), chosen.weights.data(), rows, rule.experts_per_token});
  return chosen;
}

TEST(RouteExperts, BitsDependOnNeitherThreadsNorTarget) {
  std::mt19937 random(5);
  Backend one = MakeCpuBackend(1).value();
  for (const ExpertScore score : {ExpertScore::kSigmoid, ExpertScore::kSoftmax}) {
    const RoutingRule rule = {
        .num_experts = 72, .experts_per_token = 6, .num_groups = 8, .groups_per_token = 3, .score = score};
    std::vector<float> logits(30 * 72), bias(72);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    for (float& x : logits) x = normal(random);
    for (float& x : bias) x = normal(random);
    const Chosen expected = Route(*one.ops, logits, bias, rule);
    for (const int threads : {1, 2, 5}) {
      Backend backend = MakeCpuBackend(threads).value();
      ForEachTarget([&] {
        const Chosen chosen = Route(*backend.ops, logits, bias, rule);
        EXPECT_EQ(chosen.experts, expected.experts);
        EXPECT_TRUE(SameBytes(std::span(chosen.weights), std::span(expected.weights)));
      });
    }
  }
}

}  // namespace
}  // namespace latentd
