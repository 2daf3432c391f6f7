// Models of floating-point arithmetic: exact in 128-bit floats, then rounded once, from the PTX ISA's text.
#include <bit>
#include <cmath>

#include "tests/cuda_emulator/tests/number_model.h"

namespace cuda_emulator::model {
namespace {

uint64_t Flushed(const Type& type, uint64_t bits, bool flushes) {
  return flushes && IsSubnormal(type, bits) ? Zero(type, IsNegative(type, bits)) : bits;
}

Expected AnyNan(const Type& type) {
  return {.is_known = true, .bits = CanonicalNan(type), .type = type, .any_nan = true};
}
Expected Exactly(const Type& type, uint64_t bits) { return {.is_known = true, .bits = bits, .type = type}; }

// a * b + c, with the signs of zeros and infinities by IEEE 754.
Expected MultiplyAdd(const Type& type, Mode mode, uint64_t a, uint64_t b, uint64_t c) {
  if (IsNan(type, a) || IsNan(type, b) || IsNan(type, c)) return AnyNan(type);
  const bool is_negative = IsNegative(type, a) != IsNegative(type, b);
  const bool is_infinite = IsInfinite(type, a) || IsInfinite(type, b);
  if (is_infinite && (IsZero(type, a) || IsZero(type, b))) return AnyNan(type);
  if (is_infinite && IsInfinite(type, c) && is_negative != IsNegative(type, c)) return AnyNan(type);
  if (is_infinite) return Exactly(type, Infinity(type, is_negative));
  if (IsInfinite(type, c)) return Exactly(type, c);
  const Real product = Decode(type, a) * Decode(type, b), addend = Decode(type, c);
  const bool both_negative = is_negative && IsNegative(type, c), same = is_negative == IsNegative(type, c);
  const bool negative_zero = same ? both_negative : mode == Mode::kDown;
  return Exactly(type, Encode(type, OddSum(product, addend), mode, negative_zero));
}

Expected Quotient(const Type& type, uint64_t a, uint64_t b) {
  if (IsNan(type, a) || IsNan(type, b)) return AnyNan(type);
  const bool is_negative = IsNegative(type, a) != IsNegative(type, b);
  if (IsInfinite(type, a)) return IsInfinite(type, b) ? AnyNan(type) : Exactly(type, Infinity(type, is_negative));
  if (IsInfinite(type, b)) return Exactly(type, Zero(type, is_negative));
  if (IsZero(type, b)) return IsZero(type, a) ? AnyNan(type) : Exactly(type, Infinity(type, is_negative));
  return Exactly(type, Encode(type, Decode(type, a) / Decode(type, b), Mode::kNearest, is_negative));
}

Expected Root(const Type& type, uint64_t a) {
  if (IsZero(type, a)) return Exactly(type, a);
  if (IsNan(type, a) || IsNegative(type, a)) return AnyNan(type);
  if (IsInfinite(type, a)) return Exactly(type, a);
  return Exactly(type, Encode(type, SquareRoot(Decode(type, a)), Mode::kNearest, false));
}

Expected Extreme(const Opcode& opcode, const Type& type, uint64_t a, uint64_t b) {
  const bool first = IsNan(type, a), second = IsNan(type, b);
  if ((first && second) || (opcode.Has("NaN") && (first || second))) return Exactly(type, CanonicalNan(type));
  if (first || second) return Exactly(type, first ? b : a);
  const auto order = [&](uint64_t bits) {  // a number on a line where -0 is below +0
    const uint64_t magnitude = bits & CanonicalNan(type);
    return IsNegative(type, bits) ? -static_cast<Integer>(magnitude) - 1 : static_cast<Integer>(magnitude);
  };
  const bool takes_first = (order(a) < order(b)) == (opcode.name() == "min");
  return Exactly(type, takes_first ? a : b);
}

Expected Saturated(const Type& type, Expected value) {
  if (value.any_nan || IsNan(type, value.bits)) return Exactly(type, 0);
  if (IsNegative(type, value.bits) || IsZero(type, value.bits)) return Exactly(type, 0);
  const uint64_t one = Encode(type, 1, Mode::kNearest, false);
  value.bits = value.bits > one ? one : value.bits;
  return value;
}
Expected Relu(const Type& type, Expected value) {
  if (value.any_nan) return value;
  return IsNegative(type, value.bits) ? Exactly(type, 0) : value;
}

Expected Scalar(const Opcode& opcode, const Type& type, const std::vector<uint64_t>& v) {
  const std::string& name = opcode.name();
  const uint64_t one = Encode(type, 1, Mode::kNearest, false), sign = Zero(type, true);
  if (name == "add") return MultiplyAdd(type, opcode.mode(), v[0], one, v[1]);
  if (name == "sub") return MultiplyAdd(type, opcode.mode(), v[0], one, v[1] ^ sign);
  if (name == "fma") return MultiplyAdd(type, opcode.mode(), v[0], v[1], v[2]);
  if (name == "mul") {
    const bool is_negative = IsNegative(type, v[0]) != IsNegative(type, v[1]);
    return MultiplyAdd(type, opcode.mode(), v[0], v[1], Zero(type, is_negative));
  }
  if (name == "div") return Quotient(type, v[0], v[1]);
  if (name == "rcp") return Quotient(type, one, v[0]);
  if (name == "sqrt") return Root(type, v[0]);
  if (name == "min" || name == "max") return Extreme(opcode, type, v[0], v[1]);
  // "the result is undefined" of a NaN's sign; any will do.
  if (name == "abs") return IsNan(type, v[0]) ? AnyNan(type) : Exactly(type, v[0] & CanonicalNan(type));
  if (name == "neg") return IsNan(type, v[0]) ? AnyNan(type) : Exactly(type, v[0] ^ sign);
  if (name == "copysign") return Exactly(type, (v[0] & sign) | (v[1] & CanonicalNan(type)));
  return {};
}

Expected ScalarWithModifiers(const Opcode& opcode, const Type& type, std::vector<uint64_t> operands) {
  const bool flushes = opcode.Has("ftz");
  for (uint64_t& operand : operands) operand = Flushed(type, operand, flushes);
  Expected value = Scalar(opcode, type, operands);
  value.bits = Flushed(type, value.bits, flushes);
  if (opcode.Has("sat")) return Saturated(type, value);
  if (opcode.Has("relu")) return Relu(type, value);
  return value;
}

}  // namespace

Expected ModelFloat(const Opcode& opcode, const Type& result, const std::vector<uint64_t>& operands) {
  if (!opcode.last().ends_with("x2")) return ScalarWithModifiers(opcode, result, operands);
  const Type half = ParseType(opcode.last().substr(0, opcode.last().size() - 2));
  Expected pair{.is_known = true, .bits = 0, .type = result, .half = half};
  for (int shift : {0, 16}) {
    std::vector<uint64_t> halves;
    for (uint64_t operand : operands) halves.push_back(operand >> shift & 0xffff);
    const Expected value = ScalarWithModifiers(opcode, half, halves);
    pair.is_known = pair.is_known && value.is_known;
    (shift == 0 ? pair.any_nan : pair.any_nan_high) = value.any_nan;
    pair.bits |= value.bits << shift;
  }
  return pair;
}

Expected ModelApproximate(const Opcode& opcode, const std::vector<uint64_t>& operands) {
  const Type type = ParseType("f32");
  const bool flushes = opcode.Has("ftz");
  const auto number = [&](size_t i) {
    return std::bit_cast<float>(static_cast<uint32_t>(Flushed(type, operands[i] & 0xffffffff, flushes)));
  };
  const long double a = number(0);
  const std::string& name = opcode.name();
  long double value = 0;
  double relative = 0x1p-22, absolute = 0;  // two units of the last place, as the ISA's tables promise or better
  if (name == "ex2")
    value = std::exp2(a);
  else if (name == "lg2")
    value = std::log2(a);
  else if (name == "rcp")
    value = 1 / a;
  else if (name == "rsqrt")
    value = 1 / std::sqrt(a);
  else if (name == "sqrt")
    value = std::sqrt(a);
  else if (name == "sin")
    value = std::sin(a), absolute = 0x1p-20;
  else if (name == "cos")
    value = std::cos(a), absolute = 0x1p-20;
  else if (name == "tanh")
    value = std::tanh(a), relative = 0x1p-11;
  else if (name == "div")
    value = a / static_cast<long double>(number(1));
  else
    return {};
  if (name == "div" && opcode.Has("approx") && std::fabs(number(1)) > 0x1p126f && std::isfinite(number(1))) {
    value = a * std::copysign(0.0f, number(1));
  }
  const auto rounded = static_cast<float>(value);
  const uint64_t bits = Flushed(type, std::bit_cast<uint32_t>(rounded), flushes);
  return {.is_known = true,
          .bits = bits,
          .type = type,
          .any_nan = std::isnan(rounded),
          .relative = relative,
          .absolute = absolute + (flushes ? 0 : 0x1p-148)};
}

}  // namespace cuda_emulator::model
