#include "tests/kernels/vbmi_product.h"

#include "base/check.h"
#include "tests/kernels/emulated_tiles.h"

#ifdef __x86_64__
#include <algorithm>
#include <array>
#include <type_traits>

#include <hwy/base.h>
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512vbmi,fma")
#include "kernels/cpu/tile_loops.h"
#include "kernels/cpu/vbmi_vectors.h"

namespace latentd {

void VbmiPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals) {
  if (panel.scales != nullptr) {
    cpu::TileLoops<EmulatedTiles, cpu::VbmiVectors, true>(panel, rows, totals).Run();
  } else {
    cpu::TileLoops<EmulatedTiles, cpu::VbmiVectors, false>(panel, rows, totals).Run();
  }
}

void VbmiDecodeLine(const std::byte* line, uint16_t* to, size_t step) { cpu::VbmiVectors::DecodeLine(line, to, step); }

}  // namespace latentd
HWY_POP_ATTRIBUTES

namespace latentd {
bool HasVbmi() { return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"); }
}  // namespace latentd

#else

namespace latentd {
bool HasVbmi() { return false; }
void VbmiPanelProduct(const cpu::TilePanel&, const cpu::TileRows&, float*) { CHECK(HasVbmi()); }
void VbmiDecodeLine(const std::byte*, uint16_t*, size_t) { CHECK(HasVbmi()); }
}  // namespace latentd

#endif
