// PTX's arithmetic on f16 and bf16, alone and in pairs, for translated kernels. Stateless.
#pragma once

#include <cstdint>

#include "tests/cuda_emulator/ptx_half.h"

namespace cuda_emulator::ptx {

struct Half {
  static constexpr Format kFormat = kHalfFormat;
  static float Widen(uint16_t a) { return HalfToFloat(a); }
};
struct Bfloat {
  static constexpr Format kFormat = kBfloatFormat;
  static float Widen(uint16_t a) { return BfloatToFloat(a); }
};

// a * b + c rounded once. The product is exact in double; the sum is made odd if it isn't exact, so that rounding it
// again can't meet a false tie.
template <typename Number>
uint16_t FmaOf(uint16_t a, uint16_t b, uint16_t c) {
  const double product = static_cast<double>(Number::Widen(a)) * static_cast<double>(Number::Widen(b));
  const double addend = static_cast<double>(Number::Widen(c)), sum = product + addend;
  const double part = sum - product, error = (product - (sum - part)) + (addend - part);
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  if (std::isfinite(sum) && error != 0 && (bits & 1) == 0) {
    bits = (error > 0) == (sum > 0) ? bits + 1 : bits - 1;
  }
  return static_cast<uint16_t>(Encode<Number::kFormat, Rounding::kNearest>(std::bit_cast<double>(bits)));
}

// Sums and products of two are exact in double, or so far from a tie that rounding twice is rounding once.
template <typename Number>
uint16_t Narrow(double a) {
  return static_cast<uint16_t>(Encode<Number::kFormat, Rounding::kNearest>(a));
}
template <typename Number>
uint16_t AddOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(static_cast<double>(Number::Widen(a)) + static_cast<double>(Number::Widen(b)));
}
template <typename Number>
uint16_t SubtractOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(static_cast<double>(Number::Widen(a)) - static_cast<double>(Number::Widen(b)));
}
template <typename Number>
uint16_t MultiplyOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(static_cast<double>(Number::Widen(a)) * static_cast<double>(Number::Widen(b)));
}
template <typename Number>
uint16_t NegateOf(uint16_t a) {
  return a ^ 0x8000;
}
template <typename Number>
uint16_t AbsoluteOf(uint16_t a) {
  return a & 0x7fff;
}
template <typename Number>
uint16_t FmaReluOf(uint16_t a, uint16_t b, uint16_t c) {
  const uint16_t result = FmaOf<Number>(a, b, c);
  if (std::isnan(Number::Widen(result))) return result;
  return (result & 0x8000) != 0 ? uint16_t{0} : result;
}

// As of f32: a NaN loses, or wins with OrNan; the canonical NaN is all ones.
template <typename Number>
uint16_t MinimumOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(MinimumNumber(Number::Widen(a), Number::Widen(b)));
}
template <typename Number>
uint16_t MaximumOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(MaximumNumber(Number::Widen(a), Number::Widen(b)));
}
template <typename Number>
uint16_t MinimumOrNanOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(MinimumOrNan(Number::Widen(a), Number::Widen(b)));
}
template <typename Number>
uint16_t MaximumOrNanOf(uint16_t a, uint16_t b) {
  return Narrow<Number>(MaximumOrNan(Number::Widen(a), Number::Widen(b)));
}

// The same on both halves of each operand.
template <auto kFunction, typename... Operands>
uint32_t Two(Operands... operands) {
  return Pair(kFunction(HighHalf(operands)...), kFunction(LowHalf(operands)...));
}

}  // namespace cuda_emulator::ptx
