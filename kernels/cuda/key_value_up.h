// W_UK and W_UV of each head in the order that mma.m16n8k16 reads its A operand, cut from kv_b on the host at load.
// Plain C++: the kernels that read it are in head_products.cu.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace latentd::cuda {

// One matrix [outputs, inputs] per head, as bf16 tiles of 16 outputs by 16 inputs with zeros around:
// [num_heads][output_tiles][input_tiles][planes][32 lanes][8 values]. A lane's eight values are its registers of the A
// operand. The planes add up to the stored value: one where the checkpoint has bf16, a high and a low one for FP8 times
// its scale and for fp32, which leaves 2^-17 of it.
struct HeadMatrices {
  int num_heads = 0;
  int outputs = 0;
  int inputs = 0;
  int planes = 1;
  const uint16_t* tiles = nullptr;  // on the device, 16-byte aligned

  static constexpr int kTile = 16;
  static constexpr size_t kTileValues = size_t{kTile} * kTile;

  int output_tiles() const { return (outputs + kTile - 1) / kTile; }
  int input_tiles() const { return (inputs + kTile - 1) / kTile; }
  size_t head_values() const {
    return kTileValues * static_cast<size_t>(output_tiles()) * static_cast<size_t>(input_tiles()) *
           static_cast<size_t>(planes);
  }
  size_t num_values() const { return head_values() * static_cast<size_t>(num_heads); }
};

// Both halves of kv_b [num_heads * (nope_width + value_width), latent_width].
struct KeyValueUpMatrices {
  HeadMatrices key;    // W_UKᵀ: q̃ [latent] = W_UKᵀ q_n [nope]
  HeadMatrices value;  // W_UV: out [value] = W_UV m [latent]

  size_t num_values() const { return key.num_values() + value.num_values(); }
};

// Their sizes, tiles null still.
KeyValueUpMatrices KeyValueUpSizes(DType dtype, const AttentionShape& shape);

// Fills tiles [sizes.num_values()], the keys' first.
void PackKeyValueUpTiles(const MatrixSource& source, const AttentionShape& shape, std::span<uint16_t> tiles);

}  // namespace latentd::cuda
