// The choice of experts in double, by sorting everything (docs/spec/deepseek.md 3.6): the oracle of RouteExperts.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace latentd::reference {

struct ExpertWeight {
  int expert = 0;
  double weight = 0.0;
};

struct RoutedToken {
  std::vector<ExpertWeight> experts;  // descending selection score
  double margin = 0.0;  // smallest distance of a chosen selection score, of group or expert, to the next not chosen
};

// Indices of the `count` largest values, ties to the lower index; lowers `margin` to the distance to the next.
inline std::vector<int> LargestOf(const std::vector<double>& values, int count, double& margin) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](int i) { return values[static_cast<size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return value(a) > value(b); });
  const auto kept = static_cast<size_t>(count);
  for (size_t i = 0; i < kept && i + 1 < order.size(); ++i)
    margin = std::min(margin, value(order[i]) - value(order[i + 1]));
  order.resize(kept);
  return order;
}

inline std::vector<double> ExpertScores(std::span<const float> logits, ExpertScore score) {
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity(), total = 0.0;
  for (const float x : logits) largest = std::max(largest, double{x});
  for (const float x : logits) total += std::exp(x - largest);
  for (const float x : logits) {
    scores.push_back(score == ExpertScore::kSigmoid ? 1.0 / (1.0 + std::exp(-double{x}))
                                                    : std::exp(x - largest) / total);
  }
  return scores;
}

inline RoutedToken RouteToken(std::span<const float> logits, std::span<const float> bias, const RoutingRule& rule) {
  RoutedToken routed{.experts = {}, .margin = 1.0};
  const std::vector<double> scores = ExpertScores(logits, rule.score);
  std::vector<double> choice = scores;
  for (size_t e = 0; e < bias.size(); ++e) choice[e] += bias[e];

  const int size = rule.num_experts / rule.num_groups;
  if (rule.num_groups > 1) {
    std::vector<double> groups;
    for (auto first = choice.begin(); first != choice.end(); first += size) {
      std::vector<double> sorted(first, first + size);
      std::sort(sorted.rbegin(), sorted.rend());
      groups.push_back(rule.group_score == GroupScore::kTopTwoSum && size > 1 ? sorted[0] + sorted[1] : sorted[0]);
    }
    const std::vector<int> kept = LargestOf(groups, rule.groups_per_token, routed.margin);
    for (int e = 0; e < rule.num_experts; ++e) {
      if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) {
        choice[static_cast<size_t>(e)] = -std::numeric_limits<double>::infinity();
      }
    }
  }
  double sum = 0.0;
  for (const int e : LargestOf(choice, rule.experts_per_token, routed.margin)) {
    routed.experts.push_back({e, scores[static_cast<size_t>(e)]});
    sum += scores[static_cast<size_t>(e)];
  }
  for (ExpertWeight& e : routed.experts) {
    if (rule.normalize && rule.experts_per_token > 1) e.weight /= sum + 1e-20;
    e.weight *= rule.scale;
  }
  return routed;
}

}  // namespace latentd::reference
