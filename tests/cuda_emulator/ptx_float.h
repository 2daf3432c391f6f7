// PTX's floating-point instructions on f32 and f64, for translated kernels. Stateless. NaN payloads of arithmetic are
// the host's; instructions that are defined to give the canonical NaN do.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>

namespace cuda_emulator::ptx {

enum class Rounding { kNearest, kZero, kDown, kUp };

// .ftz: subnormal operands and results are zeros of their sign.
inline float Flush(float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  return (bits & 0x7f800000u) == 0 ? std::bit_cast<float>(bits & 0x80000000u) : a;
}
// .sat: into [0, 1], NaN to +0.
template <std::floating_point T>
T Saturate(T a) {
  return a > 0 ? (a < 1 ? a : T{1}) : T{0};
}

// Results of directed rounding are next to the nearest one, on the side that the exact value's remainder tells.
// `nearest` must be one of the two floats around the exact value, `remainder` has the sign of exact - nearest.
template <Rounding kRounding>
float Directed(float nearest, double remainder) {
  if (remainder == 0 || std::isnan(nearest) || std::isnan(remainder)) return nearest;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool is_below_wanted = remainder > 0;
  if (kRounding == Rounding::kUp) return is_below_wanted ? std::nextafter(nearest, kInfinity) : nearest;
  if (kRounding == Rounding::kDown) return is_below_wanted ? nearest : std::nextafter(nearest, -kInfinity);
  const bool is_too_large = std::signbit(nearest) ? remainder > 0 : remainder < 0;
  return is_too_large ? std::nextafter(nearest, 0.0f) : nearest;
}

// a * b + c of floats. In double the product is exact, and the sum's error is another double.
template <Rounding kRounding>
float FusedMultiplyAdd(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, sum = product + c;
  if (!std::isfinite(product) || std::isinf(c) || std::isnan(c)) return static_cast<float>(sum);
  if (sum == 0) {  // exact: a product of floats doesn't vanish in double
    const bool keeps_sign = std::signbit(product) == std::signbit(static_cast<double>(c));
    return keeps_sign ? static_cast<float>(product + c) : (kRounding == Rounding::kDown ? -0.0f : 0.0f);
  }
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  float nearest = static_cast<float>(sum);
  // An overflow to infinity is one step above the largest float.
  const double gap = std::isinf(nearest) ? (nearest > 0 ? -1.0 : 1.0) : (sum - static_cast<double>(nearest));
  return Directed<kRounding>(nearest, gap != 0 ? gap : error);
}
inline float FusedMultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
inline double FusedMultiplyAdd(double a, double b, double c) { return std::fma(a, b, c); }

template <std::floating_point T>
T Add(T a, T b) {
  return a + b;
}
template <std::floating_point T>
T Subtract(T a, T b) {
  return a - b;
}
template <std::floating_point T>
T Multiply(T a, T b) {
  return a * b;
}
template <Rounding kRounding>
float Add(float a, float b) {
  return FusedMultiplyAdd<kRounding>(a, 1.0f, b);
}
template <Rounding kRounding>
float Subtract(float a, float b) {
  return FusedMultiplyAdd<kRounding>(a, 1.0f, -b);
}
template <Rounding kRounding>
float Multiply(float a, float b) {
  const float zero = std::signbit(a) == std::signbit(b) ? 0.0f : -0.0f;  // keeps the sign of a zero product
  return FusedMultiplyAdd<kRounding>(a, b, zero);
}
template <std::floating_point T>
T DivideFloat(T a, T b) {
  return a / b;
}
// For divisors of 2^126 to 2^128 the hardware's reciprocal is flushed: the quotient is zero, of an infinity NaN.
inline float DivideApproximate(float a, float b) {
  if (std::fabs(b) > 0x1p126f && std::isfinite(b)) return a * std::copysign(0.0f, b);
  return a / b;
}

// Approximate instructions are computed exactly and rounded.
template <std::floating_point T>
T Reciprocal(T a) {
  return 1 / a;
}
template <std::floating_point T>
T SquareRoot(T a) {
  return std::sqrt(a);
}
inline float ReciprocalRoot(float a) { return static_cast<float>(1 / std::sqrt(static_cast<double>(a))); }
inline float Exp2(float a) { return std::exp2(a); }
inline float Log2(float a) { return std::log2(a); }
inline float Sine(float a) { return static_cast<float>(std::sin(static_cast<double>(a))); }
inline float Cosine(float a) { return static_cast<float>(std::cos(static_cast<double>(a))); }
inline float HyperbolicTangent(float a) { return std::tanh(a); }

template <std::floating_point T>
T AbsoluteFloat(T a) {
  return std::fabs(a);
}
template <std::floating_point T>
T NegateFloat(T a) {
  return -a;
}
// The first operand's sign on the second's magnitude.
template <std::floating_point T>
T CopySign(T a, T b) {
  return std::copysign(b, a);
}

inline float CanonicalNan(float) { return std::bit_cast<float>(0x7fffffffu); }
inline double CanonicalNan(double) { return std::bit_cast<double>(0x7fffffffffffffffull); }

// A NaN loses against a number, and -0 is less than +0.
template <std::floating_point T>
T MinimumNumber(T a, T b) {
  if (std::isnan(a)) return std::isnan(b) ? CanonicalNan(a) : b;
  if (std::isnan(b)) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <std::floating_point T>
T MaximumNumber(T a, T b) {
  if (std::isnan(a)) return std::isnan(b) ? CanonicalNan(a) : b;
  if (std::isnan(b)) return a;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}
template <std::floating_point T>
T MinimumOrNan(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? CanonicalNan(a) : MinimumNumber(a, b);
}
template <std::floating_point T>
T MaximumOrNan(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? CanonicalNan(a) : MaximumNumber(a, b);
}

inline bool IsFinite(std::floating_point auto a) { return std::isfinite(a); }
inline bool IsInfinite(std::floating_point auto a) { return std::isinf(a); }
inline bool IsNumber(std::floating_point auto a) { return !std::isnan(a); }
inline bool IsNotanumber(std::floating_point auto a) { return std::isnan(a); }
// Zero is normal here.
inline bool IsNormal(std::floating_point auto a) { return std::isnormal(a) || a == 0; }
inline bool IsSubnormal(std::floating_point auto a) { return std::fpclassify(a) == FP_SUBNORMAL; }

}  // namespace cuda_emulator::ptx
