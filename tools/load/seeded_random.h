// Random numbers that are a function of (seed, purpose, index) alone, so that request 17 of a seed is the same request
// whatever happened to the 16 before it. The standard fixes the generator's bits; the distributions are ours because it
// does not fix theirs.
#pragma once

#include <cstdint>
#include <random>

namespace latentd {

enum class Purpose : uint32_t { kArrivals = 1, kRequest, kCheck, kGroup, kTraceBlock, kParty };

class SeededRandom {
 public:
  SeededRandom(uint64_t seed, Purpose purpose, uint64_t index = 0);

  uint64_t Next() { return engine_(); }
  double Uniform();                // in [0, 1)
  uint64_t Below(uint64_t bound);  // in [0, bound); bound > 0
  double Normal();                 // mean 0, deviation 1
  double Exponential();            // mean 1
  double Gamma(double shape);      // mean `shape`, above 0

 private:
  std::mt19937_64 engine_;
};

}  // namespace latentd
