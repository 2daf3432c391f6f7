// Models of comparisons, selections and conversions on exact wide values, from the PTX ISA's text.
#include <algorithm>
#include <array>
#include <map>

#include "tests/cuda_emulator/tests/number_model.h"

namespace cuda_emulator::model {
namespace {

Expected Predicate(bool value) { return {.is_known = true, .bits = value, .type = ParseType("pred")}; }
Expected Number(const Type& type, uint64_t bits) {
  return {.is_known = true, .bits = bits, .type = type, .any_nan = IsNan(type, bits)};
}

uint64_t FlushedIf(bool flushes, const Type& type, uint64_t bits) {
  return flushes && IsSubnormal(type, bits) ? Zero(type, IsNegative(type, bits)) : bits;
}

// less, equal, greater or unordered
enum class Order { kLess, kEqual, kGreater, kUnordered };
Order Compare(const Type& type, uint64_t a, uint64_t b) {
  if (type.kind != 'f') {
    const Integer x = DecodeInteger(type, a), y = DecodeInteger(type, b);
    return x < y ? Order::kLess : x > y ? Order::kGreater : Order::kEqual;
  }
  if (IsNan(type, a) || IsNan(type, b)) return Order::kUnordered;
  const auto place = [&](uint64_t bits) {  // one step past the largest number is where infinity counts
    return Decode(type, bits);
  };
  return place(a) < place(b) ? Order::kLess : place(a) > place(b) ? Order::kGreater : Order::kEqual;
}

bool Holds(const std::string& comparison, Order order) {
  // Less, equal, greater, unordered.
  static const std::map<std::string, std::array<bool, 4>> kTruth = {
      {"eq", {false, true, false, false}}, {"ne", {true, false, true, false}},  {"lt", {true, false, false, false}},
      {"le", {true, true, false, false}},  {"gt", {false, false, true, false}}, {"ge", {false, true, true, false}},
      {"lo", {true, false, false, false}}, {"ls", {true, true, false, false}},  {"hi", {false, false, true, false}},
      {"hs", {false, true, true, false}},  {"equ", {false, true, false, true}}, {"neu", {true, false, true, true}},
      {"ltu", {true, false, false, true}}, {"leu", {true, true, false, true}},  {"gtu", {false, false, true, true}},
      {"geu", {false, true, true, true}},  {"num", {true, true, true, false}},  {"nan", {false, false, false, true}},
  };
  return kTruth.at(comparison)[static_cast<size_t>(order)];
}

bool Test(const std::string& test, const Type& type, uint64_t a) {
  const bool is_finite = !IsNan(type, a) && !IsInfinite(type, a);
  if (test == "finite") return is_finite;
  if (test == "infinite") return IsInfinite(type, a);
  if (test == "number") return !IsNan(type, a);
  if (test == "notanumber") return IsNan(type, a);
  if (test == "subnormal") return IsSubnormal(type, a);
  return is_finite && !IsSubnormal(type, a);  // zeros are normal
}

}  // namespace

Expected ModelChoice(const Opcode& opcode, const std::vector<Type>& types, const std::vector<uint64_t>& operands) {
  const std::string& name = opcode.name();
  if (name == "selp") return {.is_known = true, .bits = operands[(operands[2] & 1) != 0 ? 0 : 1], .type = types[0]};
  if (name == "mov" || name == "cvta") return {.is_known = true, .bits = operands[0], .type = types[0]};
  if (name == "isspacep") return Predicate(false);  // of addresses that aren't in any space
  if (name == "testp") return Predicate(Test(opcode.part(1), types[0], operands[0]));
  if (name == "not") return Predicate((operands[0] & 1) == 0);
  const bool c = operands.size() > 2 && (operands[2] & 1) != 0;
  bool value = (operands[0] & 1) != 0;
  if (name == "setp") {
    const bool flushes = opcode.Has("ftz");
    value = Holds(opcode.part(1), Compare(types[0], FlushedIf(flushes, types[0], operands[0]),
                                          FlushedIf(flushes, types[0], operands[1])));
    if (operands.size() == 2) return Predicate(value);
  }
  const bool other = name == "setp" ? c : (operands[1] & 1) != 0;
  if (opcode.Has("and")) return Predicate(value && other);
  if (opcode.Has("or")) return Predicate(value || other);
  if (opcode.Has("xor")) return Predicate(value != other);
  return {};
}

namespace {

Integer RoundedInteger(Real value, Mode mode) {
  auto below = static_cast<Integer>(value);  // truncates
  if (static_cast<Real>(below) > value) --below;
  const Real rest = value - static_cast<Real>(below);
  if (rest == 0) return below;
  if (mode == Mode::kDown || (mode == Mode::kZero && value > 0)) return below;
  if (mode == Mode::kUp || mode == Mode::kZero) return below + 1;
  const Real half = 0.5;
  if (rest == half) return below % 2 == 0 ? below : below + 1;
  return rest < half ? below : below + 1;
}

Expected FloatToInteger(const Opcode& opcode, const Type& to, const Type& from, uint64_t a) {
  a = FlushedIf(opcode.Has("ftz"), from, a);
  if (IsNan(from, a)) {
    return {.is_known = true, .bits = from.bits == 64 || to.bits == 64 ? uint64_t{1} << (to.bits - 1) : 0, .type = to};
  }
  const Real value = IsInfinite(from, a) ? (IsNegative(from, a) ? -1e30 : 1e30) : Decode(from, a);
  const Real limit = 1e25;  // beyond every integer, within 128 bits
  const Integer rounded = RoundedInteger(std::max(std::min(value, limit), -limit), opcode.mode());
  return {.is_known = true, .bits = EncodeInteger(to, std::clamp(rounded, Smallest(to), Largest(to))), .type = to};
}

Expected IntegralFloat(const Opcode& opcode, const Type& type, uint64_t a) {
  if (IsNan(type, a) || IsInfinite(type, a)) return Number(type, a);
  const Real value = Decode(type, a), limit = 1e25;
  if (value > limit || value < -limit) return Number(type, a);
  return Number(
      type, Encode(type, static_cast<Real>(RoundedInteger(value, opcode.mode())), Mode::kNearest, IsNegative(type, a)));
}

Expected OtherWidth(const Opcode& opcode, const Type& to, const Type& from, uint64_t a) {
  if (IsNan(from, a)) return Number(to, CanonicalNan(to));
  const bool is_negative = IsNegative(from, a), stays_finite = opcode.Has("satfinite");
  const uint64_t largest = Infinity(to, is_negative) - 1;
  if (IsInfinite(from, a)) return Number(to, stays_finite ? largest : Infinity(to, is_negative));
  const uint64_t bits = Encode(to, Decode(from, a), opcode.mode(), is_negative);
  return Number(to, stays_finite && IsInfinite(to, bits) ? largest : bits);
}

Expected FloatToFloat(const Opcode& opcode, const Type& to, const Type& from, uint64_t a) {
  a = FlushedIf(opcode.Has("ftz") && from.bits == 32, from, a);  // .ftz is about f32 only
  const bool is_integral = opcode.Has("rni") || opcode.Has("rzi") || opcode.Has("rmi") || opcode.Has("rpi");
  const bool same = to.bits == from.bits && to.exponent_bits == from.exponent_bits;
  Expected value =
      same ? (is_integral ? IntegralFloat(opcode, to, a) : Number(to, a)) : OtherWidth(opcode, to, from, a);
  if (opcode.Has("ftz") && to.bits == 32) value.bits = FlushedIf(true, to, value.bits);
  const bool is_at_most_zero = !value.any_nan && (IsNegative(to, value.bits) || IsZero(to, value.bits));
  if (opcode.Has("relu") && is_at_most_zero) return Number(to, 0);
  if (!opcode.Has("sat")) return value;
  if (value.any_nan || is_at_most_zero) return Number(to, 0);
  return Number(to, std::min(value.bits, Encode(to, 1, Mode::kNearest, false)));
}

// 10 mantissa bits of an f32, ties away from zero.
Expected Tf32(uint64_t a) {
  const Type type = ParseType("f32");
  if (IsNan(type, a) || IsInfinite(type, a)) return Number(type, a);
  uint64_t magnitude = a & 0x7fffffff;
  const uint64_t rest = magnitude % 0x2000;
  magnitude = magnitude - rest + (rest >= 0x1000 ? 0x2000 : 0);
  return Number(type, (a & 0x80000000) | magnitude);
}

Expected Pair(const Opcode& opcode, const std::string& to_name, const std::string& from_name,
              const std::vector<uint64_t>& operands) {
  const auto element = [](const std::string& name) {
    return ParseType(name.ends_with("x2") ? name.substr(0, name.size() - 2) : name);
  };
  const Type to = element(to_name), from = element(from_name);
  const bool is_packed = from_name.ends_with("x2");
  const uint64_t mask = (uint64_t{1} << from.bits) - 1;
  const uint64_t low = is_packed ? operands[0] & mask : operands[1] & mask;
  const uint64_t high = is_packed ? operands[0] >> from.bits & mask : operands[0] & mask;
  const Expected lower = FloatToFloat(opcode, to, from, low), upper = FloatToFloat(opcode, to, from, high);
  return {.is_known = true,
          .bits = upper.bits << to.bits | lower.bits,
          .type = {.kind = 'b', .bits = 2 * to.bits},
          .any_nan = lower.any_nan,
          .any_nan_high = upper.any_nan,
          .half = to};
}

}  // namespace

Expected ModelConversion(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                         const std::vector<uint64_t>& operands) {
  if (opcode.name() != "cvt") return {};
  const std::string &to = opcode.part(opcode.size() - 2), &from = opcode.last();
  if (to == "tf32") return Tf32(operands[0]);
  if (to.ends_with("x2")) return Pair(opcode, to, from, operands);
  if (result.kind == 'f' && types[0].kind == 'f') return FloatToFloat(opcode, result, types[0], operands[0]);
  if (types[0].kind == 'f') return FloatToInteger(opcode, result, types[0], operands[0]);
  const Integer value = DecodeInteger(types[0], operands[0]);
  if (result.kind == 'f') return Number(result, Encode(result, static_cast<Real>(value), opcode.mode(), false));
  const Integer kept = opcode.Has("sat") ? std::clamp(value, Smallest(result), Largest(result)) : value;
  return {.is_known = true, .bits = EncodeInteger(result, kept), .type = result};
}

}  // namespace cuda_emulator::model
