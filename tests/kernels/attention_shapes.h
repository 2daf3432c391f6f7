// Shapes of attention that several tests share.
#pragma once

#include "kernels/tensor.h"

namespace latentd {

inline constexpr AttentionShape kTinyTales = {
    .num_heads = 4, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 64};
inline constexpr AttentionShape kOdd = {
    .num_heads = 3, .nope_width = 9, .rope_width = 6, .value_width = 21, .latent_width = 37};
inline constexpr AttentionShape kManyHeads = {
    .num_heads = 35, .nope_width = 4, .rope_width = 2, .value_width = 5, .latent_width = 18};

}  // namespace latentd
