#include "tests/kernels/emulated_product.h"

#include <atomic>
#include <optional>

#include <gtest/gtest.h>

#include "kernels/cpu/tile_loops.h"
#include "tests/kernels/emulated_tiles.h"

namespace latentd {
namespace {

std::atomic<int> num_products = 0;

void CountedProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals) {
  ++num_products;
  (cpu::HasTiles() ? cpu::TilePanelProduct : EmulatedPanelProduct)(panel, rows, totals);
}

}  // namespace

void EmulatedPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals) {
  if (panel.scales != nullptr) {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, true>(panel, rows, totals).Run();
  } else {
    cpu::TileLoops<EmulatedTiles, WrittenOutVectors, false>(panel, rows, totals).Run();
  }
}

OnTiles::OnTiles() {
  num_products = 0;
  cpu::UseTilesForTest(CountedProduct);
}

OnTiles::~OnTiles() {
  cpu::UseTilesForTest(std::nullopt);
  EXPECT_GT(num_products, 0) << "nothing was multiplied on tiles";
}

}  // namespace latentd
