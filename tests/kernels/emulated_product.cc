#include "tests/kernels/emulated_product.h"

#include "kernels/cpu/tile_loops.h"
#include "tests/kernels/emulated_tiles.h"

namespace latentd {

void EmulatedPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals) {
  if (panel.scales != nullptr) {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, true>(panel, rows, totals).Run();
  } else {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, false>(panel, rows, totals).Run();
  }
}

}  // namespace latentd
