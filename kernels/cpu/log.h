// The natural logarithm in double from IEEE operations alone, so that every machine and C library gives the same bits.
#pragma once

#include <bit>
#include <cstdint>

namespace latentd::cpu {

// For positive normal x. Within 2e-16 of the larger of |log x| and 1.
inline double Log(double x) {
  constexpr double kLn2 = 0.69314718055994530942;
  constexpr uint64_t kFraction = (uint64_t{1} << 52) - 1;
  const auto bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & kFraction) | std::bit_cast<uint64_t>(1.0));
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    ++exponent;
  }
  // log m = 2 atanh(s), |s| < 0.172: the first term left out is below 1e-19.
  const double s = (m - 1.0) / (m + 1.0);
  double series = 0.0;
  for (int n = 23; n >= 1; n -= 2) series = series * (s * s) + 1.0 / n;
  return exponent * kLn2 + 2.0 * s * series;
}

}  // namespace latentd::cpu
