#include "tests/kernels/emulated_product.h"

#include <atomic>

#include <gtest/gtest.h>

#include "kernels/cpu/tile_loops.h"
#include "tests/kernels/emulated_tiles.h"

namespace latentd {
namespace {

std::atomic<int> num_products = 0;

}  // namespace

void EmulatedPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals) {
  ++num_products;
  if (panel.scales != nullptr) {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, true>(panel, rows, totals).Run();
  } else {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, false>(panel, rows, totals).Run();
  }
}

OnTiles::OnTiles() {
  num_products = 0;
  if (!cpu::HasTiles()) cpu::UseTilesForTest(EmulatedPanelProduct);
}

OnTiles::~OnTiles() {
  cpu::UseTilesForTest(nullptr);
  if (cpu::HasTiles()) return;
  EXPECT_GT(num_products, 0) << "nothing was multiplied on tiles";
}

}  // namespace latentd
