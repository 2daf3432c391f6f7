// Rows of activations as tiles read them.
#pragma once

#include <cstdint>

#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// Rounds rows to bf16, nearest, ties to even: TileRowValues(num_rows, inputs) as TileRows wants them. Sixteen rows and
// the next sixteen may be packed by different calls.
void PackTileRows(const float* const* rows, int num_rows, int inputs, uint16_t* tiles);

}  // namespace latentd::cpu
