// The distribution that a token is drawn from, in double, by a full sort (docs/spec/api.md 1): the oracle of Sample.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "kernels/batch.h"
#include "kernels/id_bits.h"

namespace latentd::reference {

struct TokenProbability {
  int32_t id = 0;
  double probability = 0.0;
};

inline std::vector<double> LogSoftmax(std::span<const float> logits) {
  double largest = -std::numeric_limits<double>::infinity(), total = 0.0;
  for (const float x : logits) largest = std::max(largest, double{x});
  for (const float x : logits) total += std::exp(x - largest);
  std::vector<double> out;
  for (const float x : logits) out.push_back(x - largest - std::log(total));
  return out;
}

// Penalties, logit bias, masks; -infinity is what is masked. In single precision where the order of ids depends on it.
inline std::vector<float> Adjusted(std::span<const float> logits, const SampleRow& row) {
  std::vector<float> z(logits.begin(), logits.end());
  std::map<int32_t, int> generated;  // of every id in the text; prompt only: 0
  for (size_t i = 0; i < row.tokens.size(); ++i) {
    generated[row.tokens[i]] += i >= static_cast<size_t>(row.num_prompt_tokens) ? 1 : 0;
  }
  for (const auto& [id, count] : generated) {
    float& x = z[static_cast<size_t>(id)];
    x = x > 0 ? x / row.rule.repetition_penalty : x * row.rule.repetition_penalty;
    if (count > 0) x = x - row.rule.frequency_penalty * static_cast<float>(count) - row.rule.presence_penalty;
  }
  for (const TokenBias& bias : row.logit_bias) z[static_cast<size_t>(bias.id)] += bias.bias;
  for (size_t id = 0; id < z.size(); ++id) {
    const auto in = [&](std::span<const int32_t> ids) {
      return std::find(ids.begin(), ids.end(), static_cast<int32_t>(id)) != ids.end();
    };
    const bool nothing = !row.has_token.empty() && row.has_token[id] == 0;
    if ((!row.allowed.empty() && !HasId(row.allowed, static_cast<int32_t>(id))) || in(row.banned_ids) || nothing) {
      z[id] = -std::numeric_limits<float>::infinity();
    }
  }
  return z;
}

// All kept tokens, by descending probability, then id. Only for temperature > 0.
inline std::vector<TokenProbability> Distribution(std::span<const float> logits, const SampleRow& row) {
  const std::vector<float> z = Adjusted(logits, row);
  std::vector<int32_t> order;
  for (size_t id = 0; id < z.size(); ++id) {
    if (std::isfinite(z[id])) order.push_back(static_cast<int32_t>(id));
  }
  const auto logit = [&](int32_t id) { return z[static_cast<size_t>(id)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  if (row.rule.top_k > 0 && static_cast<size_t>(row.rule.top_k) < order.size())
    order.resize(static_cast<size_t>(row.rule.top_k));

  std::vector<TokenProbability> kept;
  double total = 0.0;
  for (const int32_t id : order) {
    kept.push_back({id, std::exp((double{logit(id)} - logit(order[0])) / row.rule.temperature)});
    total += kept.back().probability;
  }
  if (row.rule.top_p < 1.0f) {
    double sum = 0.0;
    size_t count = 0;
    while (count < kept.size() && (count == 0 || sum < row.rule.top_p * total)) sum += kept[count++].probability;
    kept.resize(count);
  }
  while (kept.back().probability < row.rule.min_p) kept.pop_back();
  total = 0.0;
  for (const TokenProbability& token : kept) total += token.probability;
  for (TokenProbability& token : kept) token.probability /= total;
  return kept;
}

// Inverse of the cumulative distribution at u in [0, 1). `margin` is u's distance to the nearest border of the answer.
inline TokenProbability DrawFrom(std::span<const TokenProbability> kept, double u, double& margin) {
  double before = 0.0;
  for (const TokenProbability& token : kept) {
    const double after = before + token.probability;
    if (after > u) {
      margin = std::min(before == 0.0 ? 1.0 : u - before, after - u);
      return token;
    }
    before = after;
  }
  margin = 0.0;
  return kept.back();
}

}  // namespace latentd::reference
