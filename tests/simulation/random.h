// Where every choice of a simulation comes from: the same numbers from the same seed with every compiler and library.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/check.h"
#include "base/clock.h"

namespace latentd::simulation {

// Times are whole ticks, so that events often fall on the same moment and their order is drawn.
inline constexpr Duration kTick = std::chrono::microseconds(100);

inline uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}

  uint64_t Next() { return Mix(seed_, ++num_drawn_); }
  int Below(int bound) {
    CHECK_GT(bound, 0);
    return static_cast<int>(Next() % static_cast<uint64_t>(bound));
  }
  int Between(int least, int most) { return least + Below(most - least + 1); }
  bool OneIn(int count) { return Below(count) == 0; }
  // From 0 on; no longer than `most`.
  Duration Within(Duration most) { return kTick * Below(static_cast<int>(most / kTick) + 1); }

 private:
  const uint64_t seed_;
  uint64_t num_drawn_ = 0;
};

}  // namespace latentd::simulation
