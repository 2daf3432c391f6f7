// Rows of activations as tiles read them.
#pragma once

#include <cstdint>

#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// Rounds up to 16 rows to bf16, nearest, ties to even: RowTileValues(tile_rows, inputs), as TileRows wants them.
void PackRowTile(const float* const* rows, int num_rows, int tile_rows, int inputs, uint16_t* tiles);

}  // namespace latentd::cpu
