// When an open loop intends to send: moments that depend on rate and seed and on nothing that the server does.
#pragma once

#include <cstdint>

#include "tools/load/seeded_random.h"

namespace latentd {

enum class Arrival { kConstant, kPoisson };

class ArrivalSchedule {
 public:
  ArrivalSchedule(Arrival arrival, double rate, uint64_t seed);

  // Nanoseconds from the start of the run to the next intended start; never decreases.
  int64_t Next();

 private:
  const Arrival arrival_;
  const double mean_gap_seconds_;
  SeededRandom random_;
  uint64_t num_arrivals_ = 0;
  double last_seconds_ = 0.0;
};

}  // namespace latentd
