// What a product on tiles reads: rows of activations and a panel of weights (tiles.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/packed_matrix.h"

namespace latentd::cpu {

inline constexpr int kTileRows = 16;
inline constexpr int kTileInputs = kGroupInputs;
inline constexpr int kTileValues = kTileRows * kTileInputs;

static_assert(kMaxProductRows % kTileRows == 0);

constexpr int TileRowsOf(int num_rows) { return (num_rows + kTileRows - 1) / kTileRows; }
constexpr int TileGroupsOf(int inputs) { return (inputs + kTileInputs - 1) / kTileInputs; }

// Rows as bf16 [⌈rows/16⌉][⌈inputs/32⌉][tile_rows][32]: zeros behind the last input, anything behind the last row.
struct TileRows {
  const uint16_t* tiles = nullptr;
  int tile_rows = kTileRows;  // fewer where all rows are fewer: that many
  // a8: [row] -> a scale for each block of the weights, which multiplies the block's; else null.
  const float* const* scales = nullptr;
  int num_rows = 0;
};

// Values of 16 rows, or of as few as there are.
constexpr size_t RowTileValues(int tile_rows, int inputs) {
  return static_cast<size_t>(TileGroupsOf(inputs)) * static_cast<size_t>(tile_rows) * kTileInputs;
}
constexpr size_t TileRowValues(int num_rows, int inputs) {
  const int tile_rows = num_rows < kTileRows ? num_rows : kTileRows;
  return static_cast<size_t>(TileRowsOf(num_rows)) * RowTileValues(tile_rows, inputs);
}

// 64 outputs.
struct TilePanel {
  const std::byte* lines = nullptr;  // as PackedMatrix describes them
  int num_groups = 0;                // of 32 inputs
  // E4M3: a scale for each block of four groups; the first block may have fewer. bf16: null.
  const float* scales = nullptr;
  int first_block_groups = 4;
  // The panel that this thread is likely to read next, prefetched at the end; null: none.
  const std::byte* next = nullptr;
};

// Writes totals [num_rows][64]; there is at least one row.
using TileProduct = void (*)(const TilePanel&, const TileRows&, float* totals);

}  // namespace latentd::cpu
