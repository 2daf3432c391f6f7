// Products of bf16 rows with packed weights on Intel's tile unit (AMX-BF16): the bits of a16 (docs/spec/numerics.md 2)
// at eight times the rate of vectors. Any thread may multiply. Each product configures the unit and releases it, so
// that a thread's context has no tiles to save elsewhere.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// Whether this CPU has the unit and the kernel lets this process use it, which the first call asks for.
bool HasTiles();
// For people: the unit, or why it may not be used; empty where there is none.
std::string DescribeTiles();

// For tests on any machine: products on tiles go to `product`, and HasTiles is true. Null ends it.
using TileProduct = void (*)(const TilePanel&, const TileRows&, float* totals);
void UseTilesForTest(TileProduct product);

// Whether tiles, which take the inputs of all rows 32 by 32 from the first on, can multiply with w.
bool FitsTiles(const PackedMatrix& w);
TilePanel TilePanelOf(const PackedMatrix& w, int panel, const std::byte* next = nullptr);

// totals [num_rows][64]. Only where HasTiles.
void TilePanelProduct(const TilePanel& panel, const TileRows& rows, float* totals);

}  // namespace latentd::cpu
