#include "tests/cuda_emulator/tests/number_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

namespace cuda_emulator::model {

Type ParseType(std::string_view name) {
  if (name == "pred") return {.kind = 'p', .bits = 1};
  if (name == "f16") return {.kind = 'f', .bits = 16, .exponent_bits = 5, .mantissa_bits = 10};
  if (name == "bf16") return {.kind = 'f', .bits = 16, .exponent_bits = 8, .mantissa_bits = 7};
  if (name == "e5m2") return {.kind = 'f', .bits = 8, .exponent_bits = 5, .mantissa_bits = 2};
  if (name == "e4m3") return {.kind = 'f', .bits = 8, .exponent_bits = 4, .mantissa_bits = 3, .has_infinity = false};
  if (name == "f32") return {.kind = 'f', .bits = 32, .exponent_bits = 8, .mantissa_bits = 23};
  if (name == "f64") return {.kind = 'f', .bits = 64, .exponent_bits = 11, .mantissa_bits = 52};
  if (name == "f16x2" || name == "bf16x2") return {.kind = 'b', .bits = 32};
  return {.kind = name[0], .bits = std::stoi(std::string(name.substr(1)))};
}

Integer DecodeInteger(const Type& type, uint64_t bits) {
  const Integer modulus = Integer{1} << type.bits;
  const Integer value = static_cast<Integer>(bits) % modulus;
  return type.kind == 's' && value >= modulus / 2 ? value - modulus : value;
}
uint64_t EncodeInteger(const Type& type, Integer value) {
  const Integer modulus = Integer{1} << type.bits;
  return static_cast<uint64_t>(((value % modulus) + modulus) % modulus);
}
Integer Largest(const Type& type) { return (Integer{1} << (type.kind == 's' ? type.bits - 1 : type.bits)) - 1; }
Integer Smallest(const Type& type) { return type.kind == 's' ? -(Integer{1} << (type.bits - 1)) : Integer{0}; }

namespace {

uint64_t SignBit(const Type& type) { return uint64_t{1} << (type.bits - 1); }
uint64_t Magnitude(const Type& type, uint64_t bits) { return bits & (SignBit(type) - 1); }
// The first code that isn't a finite number.
uint64_t EndOfFinite(const Type& type) {
  const uint64_t all = SignBit(type) - 1;
  return type.has_infinity ? all - (uint64_t{1} << type.mantissa_bits) + 1 : all;
}
Real PowerOfTwo(int exponent) {
  __extension__ using Bits = unsigned __int128;
  return std::bit_cast<Real>(static_cast<Bits>(exponent + 16383) << 112);
}

// Also of the first code past the finite ones: where an overflow starts to count.
Real DecodeMagnitude(const Type& type, uint64_t code) {
  const int bias = (1 << (type.exponent_bits - 1)) - 1;
  const auto exponent = static_cast<int>(code >> type.mantissa_bits);
  const uint64_t fraction = code & ((uint64_t{1} << type.mantissa_bits) - 1);
  if (exponent == 0) return static_cast<Real>(fraction) * PowerOfTwo(1 - bias - type.mantissa_bits);
  const uint64_t significand = fraction | uint64_t{1} << type.mantissa_bits;
  return static_cast<Real>(significand) * PowerOfTwo(exponent - bias - type.mantissa_bits);
}

}  // namespace

bool IsNegative(const Type& type, uint64_t bits) { return (bits & SignBit(type)) != 0; }
bool IsZero(const Type& type, uint64_t bits) { return Magnitude(type, bits) == 0; }
bool IsSubnormal(const Type& type, uint64_t bits) {
  return !IsZero(type, bits) && Magnitude(type, bits) >> type.mantissa_bits == 0;
}
bool IsNan(const Type& type, uint64_t bits) {
  return type.kind == 'f' && Magnitude(type, bits) > EndOfFinite(type) - (type.has_infinity ? 0 : 1);
}
bool IsInfinite(const Type& type, uint64_t bits) {
  return type.has_infinity && Magnitude(type, bits) == EndOfFinite(type);
}
uint64_t Zero(const Type& type, bool is_negative) { return is_negative ? SignBit(type) : 0; }
uint64_t Infinity(const Type& type, bool is_negative) { return Zero(type, is_negative) | EndOfFinite(type); }
uint64_t CanonicalNan(const Type& type) { return SignBit(type) - 1; }

Real Decode(const Type& type, uint64_t bits) {
  const Real magnitude = DecodeMagnitude(type, Magnitude(type, bits));
  return IsNegative(type, bits) ? -magnitude : magnitude;
}

uint64_t Encode(const Type& type, Real value, Mode mode, bool is_negative_zero) {
  if (value == 0) return Zero(type, is_negative_zero);
  const bool is_negative = value < 0;
  const Real magnitude = is_negative ? -value : value;
  uint64_t low = 0, end = EndOfFinite(type);  // the largest code whose value isn't above
  while (end - low > 1) {
    const uint64_t middle = low + (end - low) / 2;
    (DecodeMagnitude(type, middle) <= magnitude ? low : end) = middle;
  }
  const Real below = DecodeMagnitude(type, low), above = DecodeMagnitude(type, low + 1);
  bool goes_up = false;
  if (magnitude != below) {
    if (mode == Mode::kNearest) {
      const Real down = magnitude - below, up = above - magnitude;
      goes_up = up < down || (up == down && low % 2 == 1);
    }
    if (mode == Mode::kUp) goes_up = !is_negative;
    if (mode == Mode::kDown) goes_up = is_negative;
  }
  uint64_t code = low + (goes_up ? 1 : 0);
  if (!type.has_infinity) code = std::min(code, EndOfFinite(type) - 1);
  return Zero(type, is_negative) | code;
}

Real OddSum(Real a, Real b) {
  const Real sum = a + b, part = sum - a;
  const Real lost = (a - (sum - part)) + (b - part);
  __extension__ using Bits = unsigned __int128;
  auto bits = std::bit_cast<Bits>(sum);
  if (lost == 0 || (bits & 1) != 0) return sum;
  bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1;
  return std::bit_cast<Real>(bits);
}

Real SquareRoot(Real value) {
  if (value == 0) return 0;
  Real root = static_cast<Real>(std::sqrt(static_cast<long double>(value)));
  root = (root + value / root) / 2;
  return root;
}

Opcode::Opcode(std::string_view text) {
  while (true) {
    const size_t dot = text.find('.');
    parts_.emplace_back(text.substr(0, dot));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
}
bool Opcode::Has(std::string_view part) const { return std::find(parts_.begin(), parts_.end(), part) != parts_.end(); }
Mode Opcode::mode() const {
  if (Has("rz") || Has("rzi")) return Mode::kZero;
  if (Has("rm") || Has("rmi")) return Mode::kDown;
  if (Has("rp") || Has("rpi")) return Mode::kUp;
  return Mode::kNearest;
}

}  // namespace cuda_emulator::model
