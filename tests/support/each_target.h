// Runs a body once per instruction set that the kernels were compiled for and this machine has, the portable one
// included, with vectors alone; then with this machine's tile unit beside the best of them, where it has one. Ops
// choose tiles as they reserve their memory: a body that is to run with either makes its ops itself. Where the test has
// chosen tiles before (OnTiles), they stay.
#pragma once

#include <optional>

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include "kernels/cpu/tiles.h"

namespace latentd {

template <class Body>
void ForEachTarget(const Body& body) {
  const bool chooses_tiles = !cpu::TilesForTest().has_value();
  if (chooses_tiles) cpu::UseTilesForTest(nullptr);
  hwy::SetSupportedTargetsForTest(0);
  const int64_t available = hwy::SupportedTargets() & HWY_TARGETS;
  for (int64_t left = available; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  if (!chooses_tiles) return;
  cpu::UseTilesForTest(std::nullopt);
  if (!cpu::HasTiles()) return;
  SCOPED_TRACE("tiles of this machine");
  body();
}

}  // namespace latentd
