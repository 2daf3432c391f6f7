// When an open loop intends to send: moments that depend on rate, seed or trace and on nothing that the server does.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "tools/load/seeded_random.h"

namespace latentd {

inline constexpr int64_t kNeverArrives = std::numeric_limits<int64_t>::max();

// Gaps of a gamma distribution: shape 1 is Poisson, below it requests come in bursts, above it more evenly; infinite:
// constant gaps.
struct Arrival {
  double shape = 1.0;

  std::string ToString() const;  // as ParseArrival takes it
};

// "constant", "poisson" or "gamma:SHAPE".
absl::StatusOr<Arrival> ParseArrival(std::string_view text);

// Requests per second, from the first moment of the run to its last; between them it changes linearly.
struct Rate {
  double from = 0.0;
  double to = 0.0;

  bool is_ramp() const { return from != to; }
  double mean() const { return (from + to) / 2.0; }
  std::string ToString() const;  // as ParseRate takes it
};

// "N" or "FROM:TO".
absl::StatusOr<Rate> ParseRate(std::string_view text);

class ArrivalSchedule {
 public:
  // A ramp takes `seconds`.
  ArrivalSchedule(Arrival arrival, Rate rate, double seconds, uint64_t seed);
  // Recorded ones, ascending. A rate above 0 stretches them to that mean.
  ArrivalSchedule(std::vector<double> recorded_seconds, double mean_rate);

  // Nanoseconds from the start of the run to the next intended start; never decreases. kNeverArrives: there is none.
  int64_t Next();

 private:
  int64_t NextRecorded();
  // When so many arrivals are due.
  double MomentOf(double num_due) const;

  const Arrival arrival_;
  const Rate rate_;
  const double rate_change_ = 0.0;  // per second
  SeededRandom random_;
  const std::vector<double> recorded_seconds_;
  const bool is_recorded_ = false;
  double stretch_ = 1.0;
  size_t num_arrivals_ = 0;
  double num_due_ = 0.0;
};

}  // namespace latentd
