// What a request may ask of sampling and stopping, and a generation_config.json that speaks for requests which say
// nothing: one set of bounds for both.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latentd {

enum class Lowest : uint8_t { kIncluded, kExcluded };

// A range of floats. NaN is in none.
struct SamplingRange {
  float lowest = 0.0f;
  float highest = 0.0f;
  Lowest lowest_is = Lowest::kIncluded;

  constexpr bool Holds(float value) const {
    return (lowest_is == Lowest::kIncluded ? value >= lowest : value > lowest) && value <= highest;
  }
};

inline constexpr SamplingRange kTemperatures = {0.0f, 100.0f};
inline constexpr SamplingRange kTopPs = {0.0f, 1.0f, Lowest::kExcluded};
inline constexpr SamplingRange kMinPs = {0.0f, 1.0f};
inline constexpr SamplingRange kPresencePenalties = {-2.0f, 2.0f};
inline constexpr SamplingRange kFrequencyPenalties = {-2.0f, 2.0f};
inline constexpr SamplingRange kRepetitionPenalties = {0.0f, 100.0f, Lowest::kExcluded};
inline constexpr int32_t kMaxTopK = INT32_MAX;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 256;

}  // namespace latentd
