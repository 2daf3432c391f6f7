// Products of bf16 rows with packed weights on Intel's tile unit (AMX-BF16): the bits of a16 (docs/spec/numerics.md 2)
// at eight times the rate of vectors. Any thread may multiply. Each product configures the unit and releases it, so
// that a thread's context has no tiles to save elsewhere.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// Whether this CPU has the unit and the kernel lets this process use it, which the first call asks for.
bool HasTiles();
// For people: the unit, or why it may not be used; empty where there is none.
std::string DescribeTiles();

// What ops that reserve their memory now multiply with on tiles from then on: this machine's unit; null: vectors alone.
TileProduct TilesInUse();
// For tests: another product in place of the machine's; null: vectors alone; nullopt: the machine's again.
void UseTilesForTest(std::optional<TileProduct> product);
std::optional<TileProduct> TilesForTest();

// Whether tiles, which take the inputs of all rows 32 by 32 from the first on, can multiply with w.
bool FitsTiles(const PackedMatrix& w);
TilePanel TilePanelOf(const PackedMatrix& w, int panel, const std::byte* next = nullptr);

// On this machine's unit, a TileProduct. Only where HasTiles.
void TilePanelProduct(const TilePanel& panel, const TileRows& rows, float* totals);

}  // namespace latentd::cpu
