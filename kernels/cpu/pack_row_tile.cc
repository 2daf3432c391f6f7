#include "kernels/cpu/pack_row_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pack_row_tile.cc"
#include <cstddef>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/partial-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

void PackRowTile(const float* const* rows, int num_rows, int tile_rows, int inputs, uint16_t* tiles) {
  constexpr hn::Rebind<uint16_t, F32> kU16;
  const size_t group_values = static_cast<size_t>(tile_rows) * cpu::kTileInputs;
  for (int r = 0; r < num_rows; ++r) {
    uint16_t* to = tiles + r * cpu::kTileInputs;
    for (int k = 0; k < inputs; k += cpu::kTileInputs, to += group_values) {
      for (int i = 0; i < cpu::kTileInputs; i += kLanes) {
        const Vec values = LoadUpTo(rows[r] + k + i, inputs - k - i);
        hn::StoreU(hn::DemoteTo(kU16, Bf16Halves(values)), kU16, to + i);
      }
    }
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(PackRowTile);

void PackRowTile(const float* const* rows, int num_rows, int tile_rows, int inputs, uint16_t* tiles) {
  HWY_DYNAMIC_DISPATCH(PackRowTile)(rows, num_rows, tile_rows, inputs, tiles);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
