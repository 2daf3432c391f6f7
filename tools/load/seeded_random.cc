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

double SeededRandom::Gamma(double shape) {  // Marsaglia and Tsang, 2000
  if (shape < 1.0) return Gamma(shape + 1.0) * std::pow(1.0 - Uniform(), 1.0 / shape);
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = Normal();
    const double v = std::pow(1.0 + c * x, 3.0);
    if (v > 0.0 && std::log1p(-Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double SeededRandom::Normal() {  // Box and Muller
  const double radius = std::sqrt(2.0 * Exponential());
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

}  // namespace latentd
