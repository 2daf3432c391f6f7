#include "kernels/cpu/tiles.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "base/check.h"

#if defined(__x86_64__) && defined(__linux__)
#define LATENTD_TILES 1
#include <type_traits>

#include <cpuid.h>
#include <hwy/base.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

HWY_PUSH_ATTRIBUTES("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512vbmi,fma")
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/tile_loops.h"
#include "kernels/cpu/vbmi_vectors.h"

namespace latentd::cpu {
namespace {

void MultiplyOnTiles(const TilePanel& panel, const TileRows& rows, float* totals) {
  if (panel.scales != nullptr) {
    TileLoops<AmxTiles, VbmiVectors, true>(panel, rows, totals).Run();
  } else {
    TileLoops<AmxTiles, VbmiVectors, false>(panel, rows, totals).Run();
  }
}

}  // namespace
}  // namespace latentd::cpu
HWY_POP_ATTRIBUTES
#endif

namespace latentd::cpu {
namespace {

struct TileUnit {
  enum class State : uint8_t { kNone, kRefused, kGranted };
  State state = State::kNone;
  int error = 0;  // why it was refused
};

#ifdef LATENTD_TILES
bool CpuHasTiles() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kBf16) == 0 || (d & kTile) == 0) return false;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
}

// The unit's registers are 8 KiB more for each thread that uses them, so Linux wants to be asked, once a process.
TileUnit AskForTiles() {
  if (!CpuHasTiles()) return {};
  constexpr int kRequestPermission = 0x1023, kTileRegisters = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileRegisters) == 0) return {TileUnit::State::kGranted};
  return {TileUnit::State::kRefused, errno};
}
#else
TileUnit AskForTiles() { return {}; }
void MultiplyOnTiles(const TilePanel&, const TileRows&, float*) { CHECK(false && "no tiles were compiled"); }
#endif

std::optional<TileProduct> test_choice;

const TileUnit& Unit() {
  static const TileUnit unit = AskForTiles();
  return unit;
}

}  // namespace

bool HasTiles() { return Unit().state == TileUnit::State::kGranted; }

TileProduct TilesInUse() {
  if (test_choice.has_value()) return *test_choice;
  return HasTiles() ? TilePanelProduct : nullptr;
}

void UseTilesForTest(std::optional<TileProduct> product) { test_choice = product; }

std::optional<TileProduct> TilesForTest() { return test_choice; }

std::string DescribeTiles() {
  if (Unit().state == TileUnit::State::kNone) return "";
  if (Unit().state == TileUnit::State::kGranted) return "AMX-BF16";
  return std::string("AMX-BF16 refused by the kernel: ") + std::strerror(Unit().error);
}

bool FitsTiles(const PackedMatrix& w) {
  if (w.dtype() == DType::kBf16) return true;
  return w.dtype() == DType::kE4M3 && (w.num_blocks() == 1 || w.BlockBegin(1) % kTileInputs == 0);
}

TilePanel TilePanelOf(const PackedMatrix& w, int panel, const std::byte* next) {
  TilePanel tiles{.lines = w.Panel(panel), .num_groups = TileGroupsOf(w.inputs), .next = next};
  if (!w.is_scaled()) return tiles;
  tiles.scales = w.Scales(panel);
  tiles.first_block_groups = TileGroupsOf(w.BlockBegin(1));
  return tiles;
}

void TilePanelProduct(const TilePanel& panel, const TileRows& rows, float* totals) {
  MultiplyOnTiles(panel, rows, totals);
}

}  // namespace latentd::cpu
