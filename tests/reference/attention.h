// Norms, rotation and attention in double, for one sequence, as the paper writes them: the oracle of those verbs.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/tensor.h"
#include "tests/reference/linear.h"

namespace latentd::reference {

inline Vector RmsNorm(const Vector& x, std::span<const float> weight, double epsilon) {
  double squares = 0.0;
  for (const double v : x) squares += v * v;
  Vector out;
  for (size_t i = 0; i < x.size(); ++i) {
    out.push_back(weight[i] * x[i] / std::sqrt(squares / static_cast<double>(x.size()) + epsilon));
  }
  return out;
}

inline double Silu(double x) { return x / (1.0 + std::exp(-x)); }

// angles holds cosines, then as many sines.
inline Vector Rotate(const Vector& x, std::span<const float> angles, RopePairs pairs) {
  const size_t half = x.size() / 2;
  Vector out(x.size());
  for (size_t i = 0; i < half; ++i) {
    const size_t a = pairs == RopePairs::kAdjacent ? 2 * i : i;
    const size_t b = pairs == RopePairs::kAdjacent ? 2 * i + 1 : i + half;
    out[a] = x[a] * angles[i] - x[b] * angles[half + i];
    out[b] = x[a] * angles[half + i] + x[b] * angles[i];
  }
  return out;
}

// One layer's cache of one sequence: per token the normed latent, then the rotated key part.
using LatentRows = std::vector<std::vector<float>>;

// The expanded form (docs/spec/deepseek.md 3.3, naive): k_n = U_h c, v = V_h c, softmax over the tokens of `cache`. One
// query, one head; `up` is kv_b, the head's rows of it start at first_row.
inline Vector AttendHead(std::span<const float> q, const Rows& up, size_t first_row, const AttentionShape& shape,
                         double scale, std::span<const std::vector<float>> cache) {
  const auto nope = static_cast<size_t>(shape.nope_width), latent = static_cast<size_t>(shape.latent_width);
  const auto product = [&](size_t row, const std::vector<float>& slot) {
    double sum = 0.0;
    for (size_t i = 0; i < latent; ++i) sum += up[first_row + row][i] * slot[i];
    return sum;
  };
  Vector scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (size_t j = 0; j < cache.size(); ++j) {
    double score = 0.0;
    for (size_t i = 0; i < nope; ++i) score += q[i] * product(i, cache[j]);
    for (size_t i = nope; i < q.size(); ++i) score += static_cast<double>(q[i]) * cache[j][latent + i - nope];
    scores.push_back(scale * score);
    largest = std::max(largest, scores.back());
  }
  double total = 0.0;
  for (double& score : scores) total += score = std::exp(score - largest);
  Vector out(static_cast<size_t>(shape.value_width), 0.0);
  for (size_t j = 0; j < scores.size(); ++j) {
    for (size_t i = 0; i < out.size(); ++i) out[i] += scores[j] / total * product(nope + i, cache[j]);
  }
  return out;
}

}  // namespace latentd::reference
