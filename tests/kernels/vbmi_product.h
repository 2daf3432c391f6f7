// TilePanelProduct's loops with an emulated tile unit, but the vectors that go with the real one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/tile_operands.h"

namespace latentd {

bool HasVbmi();

// Only where HasVbmi.
void VbmiPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals);
void VbmiDecodeLine(const std::byte* line, uint16_t* to, size_t step);

}  // namespace latentd
