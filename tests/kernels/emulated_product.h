// TilePanelProduct with a tile unit and vectors that are written out (emulated_tiles.h): the same loops on any machine.
#pragma once

#include "kernels/cpu/tiles.h"

namespace latentd {

void EmulatedPanelProduct(const cpu::TilePanel& panel, const cpu::TileRows& rows, float* totals);

// Ops that reserve their memory while one lives multiply on the machine's tiles, or else on emulated ones, and must do
// so at least once.
class OnTiles {
 public:
  OnTiles();
  ~OnTiles();
  OnTiles(const OnTiles&) = delete;
  OnTiles& operator=(const OnTiles&) = delete;
};

}  // namespace latentd
