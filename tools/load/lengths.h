// Numbers of tokens of a workload's requests: fixed, or drawn.
#pragma once

#include <cstdint>
#include <string_view>

#include <absl/status/statusor.h>

#include "tools/load/seeded_random.h"

namespace latentd {

// Fixed where the deviation is 0. What is drawn is rounded and cut to [min, max].
struct LengthDistribution {
  enum class Shape : uint8_t { kNormal, kLogNormal };

  Shape shape = Shape::kNormal;
  double mean = 64.0;  // of the lengths, not of their logarithms; so is the deviation
  double deviation = 0.0;
  uint32_t min = 64;
  uint32_t max = 64;

  uint32_t Draw(SeededRandom& random) const;
};

// "N", "MEAN:DEVIATION" or "MEAN:DEVIATION:MIN:MAX"; the last two are log-normal behind "lognormal:". Without MIN and
// MAX: from 1 to four deviations above the mean, sixteen of the log-normal one, whose tail is what it is chosen for.
absl::StatusOr<LengthDistribution> ParseLengths(std::string_view flag, std::string_view text);

}  // namespace latentd
