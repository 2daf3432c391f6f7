// A slot of the cache by definition (docs/spec/deepseek.md 7.2), one value at a time: what the kernels' slots are
// compared with.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/tensor.h"

namespace latentd {

// What a slot of these pages has to hold of a key [latent; rope].
std::vector<std::byte> StoreLatent(const std::vector<float>& key, const LatentPages& pages);
// The key that a slot stands for, without padding.
std::vector<float> ReadLatent(const std::byte* slot, const LatentPages& pages);

// The scale of the group of 128 of the latent that value `index` is in.
double ScaleOf(const std::vector<float>& key, int index, const LatentPages& pages);

}  // namespace latentd
