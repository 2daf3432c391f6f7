#include "tools/load/seeded_random.h"

#include <cmath>
#include <numbers>

namespace latentd {
namespace {

std::mt19937_64 MakeEngine(uint64_t seed, Purpose purpose, uint64_t index) {
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(purpose),
                         static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32)};
  return std::mt19937_64(sequence);
}

}  // namespace

SeededRandom::SeededRandom(uint64_t seed, Purpose purpose, uint64_t index)
    : engine_(MakeEngine(seed, purpose, index)) {}

double SeededRandom::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

uint64_t SeededRandom::Below(uint64_t bound) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(static_cast<Wide>(Next()) * bound >> 64);
}

double SeededRandom::Exponential() { return -std::log1p(-Uniform()); }

double SeededRandom::Normal() {  // Box and Muller
  const double radius = std::sqrt(2.0 * Exponential());
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

}  // namespace latentd
