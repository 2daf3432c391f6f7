#include "kernels/cpu/pack_tile_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pack_tile_rows.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/partial-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// A row's place in the first of its tiles.
void PackTileRow(const float* row, int inputs, uint16_t* to) {
  constexpr hn::Rebind<uint16_t, F32> kU16;
  for (int k = 0; k < inputs; k += cpu::kTileInputs, to += cpu::kTileValues) {
    for (int i = 0; i < cpu::kTileInputs; i += kLanes)
      hn::StoreU(hn::DemoteTo(kU16, Bf16Halves(LoadUpTo(row + k + i, inputs - k - i))), kU16, to + i);
  }
}

void PackTileRows(const float* const* rows, int num_rows, int inputs, uint16_t* tiles) {
  const size_t row_tile_values = cpu::TileRowValues(cpu::kTileRows, inputs);
  for (int first = 0; first < num_rows; first += cpu::kTileRows, tiles += row_tile_values) {
    const int count = std::min(cpu::kTileRows, num_rows - first);
    for (int r = 0; r < count; ++r) PackTileRow(rows[first + r], inputs, tiles + r * cpu::kTileInputs);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(PackTileRows);

void PackTileRows(const float* const* rows, int num_rows, int inputs, uint16_t* tiles) {
  HWY_DYNAMIC_DISPATCH(PackTileRows)(rows, num_rows, inputs, tiles);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
