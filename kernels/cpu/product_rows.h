// The rows of activations that a product reads, as its arithmetic wants them (docs/spec/numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// a32 sums fp32 activations one k after the other. a16 sums activations that are exact in bf16 in the order of Intel's
// tile unit: groups of 32 k, even and odd k by themselves, subnormals as zero.
enum class Arithmetic : uint8_t { kA32, kA16 };

struct ProductRows {
  Arithmetic arithmetic = Arithmetic::kA32;
  // [row] -> the row's values; under a16 those of bf16 numbers, or of FP8 codes where there are scales.
  const float* const* values = nullptr;
  // [row] -> the scale of each group of 128 codes; null where there are no codes.
  const float* const* scales = nullptr;
  // The same values as TileRows (tiles.h) has them, for products on a tile unit; null: on vectors. Who has these needs
  // no values.
  const uint16_t* tiles = nullptr;
  int tile_rows = 0;
  size_t row_tile_values = 0;  // of kTileRows rows
  TileProduct tile_product = nullptr;

  // The rows from `row` on, which is a multiple of kTileRows.
  ProductRows From(int row) const {
    ProductRows rest = *this;
    if (values != nullptr) rest.values += row;
    if (scales != nullptr) rest.scales += row;
    if (tiles != nullptr) rest.tiles += static_cast<size_t>(row / kTileRows) * row_tile_values;
    return rest;
  }
};

}  // namespace latentd::cpu
