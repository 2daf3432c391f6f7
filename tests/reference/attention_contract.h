// The numerics contract of kernels/ops.h for attention, in scalar loops of std::fma: what AttendLatent must equal bit
// for bit, for any company, number of threads and instruction set.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "tests/reference/contract.h"

namespace latentd::contract {

using Lanes = std::array<float, 16>;

inline float TreeSum(Lanes t) {
  for (size_t apart = 8; apart >= 1; apart /= 2) {
    for (size_t l = 0; l < apart; ++l) t[l] = t[l] + t[l + apart];
  }
  return t[0];
}

inline float Dot(const std::vector<float>& a, const std::vector<float>& b) {
  Lanes lanes = {};
  for (size_t i = 0; i < a.size(); ++i) lanes[i % 16] = std::fma(a[i], b[i], lanes[i % 16]);
  return TreeSum(lanes);
}

// Σ p c over some keys: not yet divided by the sum of the p, which are relative to the maximum.
struct Partial {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0f;
  std::vector<float> result;
};

// The keys of a tile, by their place in it; those before num_hidden are not there.
struct TileKeys {
  std::span<const std::vector<float>> keys;
  size_t num_hidden = 0;

  template <class Dot>
  std::vector<float> Scores(const Dot& dot, const std::vector<float>& q, float scale) const {
    std::vector<float> scores(num_hidden, -std::numeric_limits<float>::infinity());
    for (const std::vector<float>& key : keys.subspan(num_hidden)) scores.push_back(dot(q, key) * scale);
    return scores;
  }
};

// The weights round(exp(score - maximum)) of a tile's keys; the maximum, the sum and the result move on to them.
template <class Round>
std::vector<float> WeighTile(std::vector<float> scores, const Round& round, Partial& p) {
  float max = p.max;
  for (const float score : scores) max = std::max(max, score);
  Lanes lanes = {};
  for (size_t j = 0; j < scores.size(); ++j) {
    scores[j] = round(Exp(scores[j] - max));
    lanes[j % 16] += scores[j];
  }
  const float factor = Exp(p.max - max);
  p.max = max;
  p.sum = std::fma(p.sum, factor, TreeSum(lanes));
  for (float& value : p.result) value *= factor;
  return scores;
}

inline void AddTile(const std::vector<float>& q, const TileKeys& tile, float scale, Partial& p) {
  const std::vector<float> weights = WeighTile(
      tile.Scores(Dot, q, scale), [](float weight) { return weight; }, p);
  for (size_t i = 0; i < p.result.size(); ++i) {
    for (size_t j = tile.num_hidden; j < weights.size(); ++j) {
      p.result[i] = std::fma(weights[j], tile.keys[j][i], p.result[i]);
    }
  }
}

// The keys of one token: those in [first, keys.size()) are there.
struct ContextKeys {
  std::span<const std::vector<float>> keys;
  size_t first = 0;
};

// One head: q and keys are [latent; rope], the answer is the normalised mean latent. add_tile is AddTile.
template <class Tile>
std::vector<float> MeanLatentBy(const Tile& add_tile, const std::vector<float>& q, const ContextKeys& context,
                                float scale, size_t latent_width) {
  const auto& [keys, first_key] = context;
  Partial all{.result = std::vector<float>(latent_width, 0.0f)};
  for (size_t first = first_key / 512 * 512; first < keys.size(); first += 512) {
    Partial range{.result = std::vector<float>(latent_width, 0.0f)};
    const size_t end = std::min(keys.size(), first + 512);
    for (size_t tile = std::max(first, first_key / 64 * 64); tile < end; tile += 64) {
      const size_t num_hidden = std::max(tile, first_key) - tile;
      add_tile(q, TileKeys{keys.subspan(tile, std::min<size_t>(64, end - tile)), num_hidden}, scale, range);
    }
    const float max = std::max(all.max, range.max), old_factor = Exp(all.max - max), factor = Exp(range.max - max);
    all.max = max;
    all.sum = std::fma(range.sum, factor, all.sum * old_factor);
    for (size_t i = 0; i < latent_width; ++i) {
      all.result[i] = std::fma(range.result[i], factor, all.result[i] * old_factor);
    }
  }
  const float inverse = 1.0f / all.sum;
  for (float& value : all.result) value *= inverse;
  return all.result;
}

inline std::vector<float> MeanLatent(const std::vector<float>& q, const ContextKeys& context, float scale,
                                     size_t latent_width) {
  return MeanLatentBy(AddTile, q, context, scale, latent_width);
}

}  // namespace latentd::contract
