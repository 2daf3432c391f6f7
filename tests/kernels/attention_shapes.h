// Shapes of attention that several tests share.
#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace latentd {

inline constexpr AttentionShape kTinyTales = {
    .num_heads = 4, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 64};
inline constexpr AttentionShape kOdd = {
    .num_heads = 3, .nope_width = 9, .rope_width = 6, .value_width = 21, .latent_width = 37};
inline constexpr AttentionShape kManyHeads = {
    .num_heads = 35, .nope_width = 4, .rope_width = 2, .value_width = 5, .latent_width = 18};

// Lengths of sequences and the first key of each, for its last two tokens: the second key; in a group of 32, at its
// edges and in the next; at a tile's edges and in later ones; the first of the two tokens itself; at a range's edges,
// in the middle of the second and in the third.
inline const std::vector<int> kCutLengths = {3, 65, 40, 64, 60, 66, 70, 200, 130, 513, 530, 530, 600, 1090, 1090};
inline const std::vector<int> kFirstKeys = {1, 1, 5, 31, 32, 63, 64, 100, 128, 1, 511, 512, 513, 700, 1030};

}  // namespace latentd
