#include "tests/bench/tile_roof.h"

#include "kernels/cpu/tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <hwy/base.h>

#include "base/thread_pool.h"

HWY_PUSH_ATTRIBUTES("amx-tile,amx-bf16")
#include "kernels/cpu/amx_tiles.h"

namespace latentd {
namespace {

void MultiplyTiles(int num_steps) {
  alignas(64) static constexpr uint16_t kZeros[cpu::kTileValues] = {};
  cpu::AmxTiles unit(cpu::kTileRows);
  unit.Load<4>(kZeros, 64);
  unit.Load<5>(kZeros, 64);
  unit.Load<6>(kZeros, 64);
  unit.Load<7>(kZeros, 64);
  for (int i = 0; i < num_steps; ++i) {
    unit.Multiply<0, 4, 6>();
    unit.Multiply<1, 4, 7>();
    unit.Multiply<2, 5, 6>();
    unit.Multiply<3, 5, 7>();
  }
}

}  // namespace
}  // namespace latentd
HWY_POP_ATTRIBUTES

namespace latentd {

double MeasureTilePeak(int num_threads) {
  if (!cpu::HasTiles()) return 0.0;
  constexpr int kSteps = 100'000;
  constexpr double kStepFlops = 4.0 * 2.0 * cpu::kTileValues * 16;
  const int num_items = 8 * num_threads;
  ThreadPool pool(num_threads);
  double best = 0.0;  // of a few: a ceiling is a maximum
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pool.ForEach(num_items, [](int, int) { MultiplyTiles(kSteps); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, kStepFlops * kSteps * num_items / seconds.count());
  }
  return best;
}

}  // namespace latentd

#else

namespace latentd {
double MeasureTilePeak(int) { return 0.0; }
}  // namespace latentd

#endif

namespace latentd {

double TileFlops(std::string_view verb, const OpCost& cost, ActivationFormat activations) {
  if (activations == ActivationFormat::kBf16) return cost.bf16_flops + cost.e4m3_flops;
  // W_UK and W_UV are multiplied with values.
  const bool has_codes = activations == ActivationFormat::kE4M3 && verb != "AttendLatent";
  return has_codes ? cost.e4m3_flops : 0.0;
}

}  // namespace latentd
