// The contract of AttendLatent under a16 (docs/spec/numerics.md), in scalar loops: what it must equal bit for bit, for
// any company, number of threads and instruction set.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "tests/reference/attention_contract.h"
#include "tests/reference/contract16.h"

namespace latentd::contract {

// Groups of 32 products in the order of the tile unit. q holds bf16 values.
inline float Dot16(const std::vector<float>& q, const std::vector<float>& key) {
  const int width = static_cast<int>(q.size());
  float sum = 0.0f;
  for (int k = 0; k < width; k += kGroupInputs) {
    sum = AddGroup(
        &q[static_cast<size_t>(k)], [&](int i) { return key[static_cast<size_t>(k + i)]; },
        std::min(kGroupInputs, width - k), sum);
  }
  return sum;
}

// A tile is two groups of 32 keys; of one that the query sees in part, the others count with p = 0, and one of which it
// sees nothing is left out. What is summed into the denominator is what multiplies.
inline void AddTile16(const std::vector<float>& q, const TileKeys& tile, float scale, Partial& p) {
  const std::vector<float> weights = WeighTile(
      tile.Scores(Dot16, q, scale), [](float weight) { return Bf16(weight); }, p);
  const auto latent = [&](size_t j, size_t i) { return j < tile.num_hidden ? 0.0f : tile.keys[j][i]; };
  for (size_t i = 0; i < p.result.size(); ++i) {
    for (size_t j = tile.num_hidden / kGroupInputs * kGroupInputs; j < weights.size(); j += kGroupInputs) {
      const auto count = static_cast<int>(std::min<size_t>(kGroupInputs, weights.size() - j));
      p.result[i] = AddGroup(
          &weights[j], [&](int k) { return latent(j + static_cast<size_t>(k), i); }, count, p.result[i]);
    }
  }
}

// One head: q is [q̃; rotated q_r] in fp32, the keys are what their slots stand for.
inline std::vector<float> MeanLatent16(const std::vector<float>& q, const ContextKeys& context, float scale,
                                       size_t latent_width) {
  const std::vector<float> rounded = Bf16(q.data(), static_cast<int>(q.size()));
  std::vector<std::vector<float>> rounded_keys;
  for (const std::vector<float>& key : context.keys)
    rounded_keys.push_back(Bf16(key.data(), static_cast<int>(key.size())));
  return MeanLatentBy(AddTile16, rounded, {rounded_keys, context.first}, scale, latent_width);
}

}  // namespace latentd::contract
