// Models of integer instructions in 128-bit arithmetic, and of bit instructions bit by bit, from the PTX ISA's text.
#include <algorithm>

#include "tests/cuda_emulator/tests/number_model.h"

namespace cuda_emulator::model {
namespace {

using Bits = std::vector<bool>;

Bits ToBits(uint64_t value, int count) {
  Bits bits;
  for (int i = 0; i < count; ++i) bits.push_back((value >> i & 1) != 0);
  return bits;
}
uint64_t FromBits(const Bits& bits) {
  uint64_t value = 0;
  for (size_t i = 0; i < bits.size(); ++i) value |= static_cast<uint64_t>(bits[i]) << i;
  return value;
}

Integer FloorShift(Integer value, int amount) {
  const Integer divisor = Integer{1} << amount;
  const Integer quotient = value / divisor;
  return value % divisor < 0 ? quotient - 1 : quotient;
}

Integer Product(const Opcode& opcode, const Type& source, Integer a, Integer b) {
  if (!opcode.Has("hi"))
    return source.bits == 64 && opcode.Has("lo")
               ? static_cast<Integer>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b))
               : a * b;
  if (source.bits == 64 && source.kind == 'u') {  // the product may have 128 bits: by halves of 32
    const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    const uint64_t low = (x & 0xffffffff) * (y & 0xffffffff), m1 = (x >> 32) * (y & 0xffffffff);
    const uint64_t m2 = (x & 0xffffffff) * (y >> 32);
    const uint64_t carry = ((low >> 32) + (m1 & 0xffffffff) + (m2 & 0xffffffff)) >> 32;
    return static_cast<Integer>((x >> 32) * (y >> 32) + (m1 >> 32) + (m2 >> 32) + carry);
  }
  return FloorShift(a * b, source.bits);
}

Integer DotProduct(const Type& a_type, const Type& b_type, const std::vector<uint64_t>& operands) {
  Integer sum = 0;
  for (int i = 0; i < 4; ++i) {
    const Type a{.kind = a_type.kind, .bits = 8}, b{.kind = b_type.kind, .bits = 8};
    sum += DecodeInteger(a, operands[0] >> (8 * i)) * DecodeInteger(b, operands[1] >> (8 * i));
  }
  return sum;
}

// C's division truncates, as PTX's does. By zero: what hardware gives.
Integer Quotient(Integer a, Integer b) { return b == 0 ? Integer{-1} : a / b; }
Integer Rest(Integer a, Integer b) { return b == 0 ? a : a % b; }

}  // namespace

Expected ModelInteger(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                      const std::vector<uint64_t>& operands) {
  std::vector<Integer> v;
  for (size_t i = 0; i < operands.size(); ++i) v.push_back(DecodeInteger(types[i], operands[i]));
  const std::string& name = opcode.name();
  Integer value = 0;
  if (name == "add")
    value = v[0] + v[1];
  else if (name == "sub")
    value = v[0] - v[1];
  else if (name == "mul")
    value = Product(opcode, types[0], v[0], v[1]);
  else if (name == "mad")
    value = Product(opcode, types[0], v[0], v[1]) + v[2];
  else if (name == "div")
    value = Quotient(v[0], v[1]);
  else if (name == "rem")
    value = Rest(v[0], v[1]);
  else if (name == "min")
    value = std::min(v[0], v[1]);
  else if (name == "max")
    value = std::max(v[0], v[1]);
  else if (name == "abs")
    value = v[0] < 0 ? -v[0] : v[0];
  else if (name == "neg")
    value = -v[0];
  else if (name == "dp4a")
    value = DotProduct(types[0], types[1], operands) + v[2];
  else
    return {};
  return {.is_known = true, .bits = EncodeInteger(result, value), .type = result};
}

namespace {

Bits Shifted(const Opcode& opcode, const Type& type, const Bits& a, uint64_t amount) {
  const int n = type.bits;
  Bits out(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) {
    const auto distance = static_cast<Integer>(amount);
    const Integer from = opcode.name() == "shl" ? i - distance : i + distance;
    const bool fill = opcode.name() == "shr" && type.kind == 's' && a[static_cast<size_t>(n - 1)];
    out[static_cast<size_t>(i)] = from >= 0 && from < n ? a[static_cast<size_t>(from)] : fill;
  }
  return out;
}

uint64_t Funnel(const Opcode& opcode, const std::vector<uint64_t>& operands) {
  const auto c = static_cast<uint32_t>(operands[2]);
  const uint32_t n = opcode.Has("clamp") ? std::min(c, 32u) : c % 32;
  const auto a = static_cast<uint32_t>(operands[0]), b = static_cast<uint32_t>(operands[1]);
  const auto shift = [](uint32_t value, uint32_t by, bool left) {
    return by >= 32 ? 0u : (left ? value << by : value >> by);
  };
  if (opcode.part(1) == "l") return shift(b, n, true) | shift(a, 32 - n, false);
  return shift(b, 32 - n, true) | shift(a, n, false);
}

// The loop of the ISA's text.
uint64_t Extract(const Type& type, const Bits& a, uint64_t position, uint64_t length) {
  const auto msb = static_cast<uint64_t>(type.bits - 1);
  position &= 0xff;
  length &= 0xff;
  const bool sign = type.kind == 's' && length != 0 && a[static_cast<size_t>(std::min(position + length - 1, msb))];
  Bits out;
  for (uint64_t i = 0; i <= msb; ++i) {
    out.push_back(i < length && position + i <= msb ? a[static_cast<size_t>(position + i)] : sign);
  }
  return FromBits(out);
}
uint64_t Insert(const Type& type, const Bits& a, Bits b, uint64_t position, uint64_t length) {
  position &= 0xff;
  length &= 0xff;
  for (uint64_t i = 0; i < length && position + i < static_cast<uint64_t>(type.bits); ++i) {
    b[static_cast<size_t>(position + i)] = a[static_cast<size_t>(i)];
  }
  return FromBits(b);
}

uint64_t FindBit(const Opcode& opcode, const Type& type, const Bits& a) {
  const bool looks_for = !(type.kind == 's' && a.back());
  for (int i = type.bits - 1; i >= 0; --i) {
    if (a[static_cast<size_t>(i)] == looks_for) {
      return static_cast<uint64_t>(opcode.Has("shiftamt") ? type.bits - 1 - i : i);
    }
  }
  return 0xffffffff;
}

uint64_t Permute(const std::vector<uint64_t>& operands) {
  Bits bytes = ToBits(operands[0], 32), out;
  const Bits upper = ToBits(operands[1], 32);
  bytes.insert(bytes.end(), upper.begin(), upper.end());
  for (int i = 0; i < 4; ++i) {
    const uint64_t pick = operands[2] >> (4 * i) & 7;
    const bool only_sign = (operands[2] >> (4 * i + 3) & 1) != 0;
    for (uint64_t bit = 0; bit < 8; ++bit) out.push_back(bytes[static_cast<size_t>(8 * pick + (only_sign ? 7 : bit))]);
  }
  return FromBits(out);
}

uint64_t BitByBit(const Opcode& opcode, const Type& type, const std::vector<uint64_t>& operands) {
  Bits out;
  for (int i = 0; i < type.bits; ++i) {
    const auto bit = [&](size_t operand) { return (operands[operand] >> i & 1) != 0; };
    if (opcode.name() == "and") out.push_back(bit(0) && bit(1));
    if (opcode.name() == "or") out.push_back(bit(0) || bit(1));
    if (opcode.name() == "xor") out.push_back(bit(0) != bit(1));
    if (opcode.name() == "not") out.push_back(!bit(0));
    if (opcode.name() == "lop3") out.push_back((operands[3] >> (bit(0) * 4 + bit(1) * 2 + bit(2)) & 1) != 0);
  }
  return FromBits(out);
}

}  // namespace

Expected ModelBits(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                   const std::vector<uint64_t>& operands) {
  const std::string& name = opcode.name();
  const Type& type = types[0];
  const Bits a = ToBits(operands[0], type.bits);
  uint64_t value = 0;
  if (name == "shl" || name == "shr")
    value = FromBits(Shifted(opcode, type, a, operands[1] & 0xffffffff));
  else if (name == "shf")
    value = Funnel(opcode, operands);
  else if (name == "bfe")
    value = Extract(type, a, operands[1], operands[2]);
  else if (name == "bfi")
    value = Insert(type, a, ToBits(operands[1], type.bits), operands[2], operands[3]);
  else if (name == "popc")
    value = static_cast<uint64_t>(std::count(a.begin(), a.end(), true));
  else if (name == "clz")
    value = static_cast<uint64_t>(std::find(a.rbegin(), a.rend(), true) - a.rbegin());
  else if (name == "brev")
    value = FromBits(Bits(a.rbegin(), a.rend()));
  else if (name == "bfind")
    value = FindBit(opcode, type, a);
  else if (name == "prmt")
    value = Permute(operands);
  else if (name == "and" || name == "or" || name == "xor" || name == "not" || name == "lop3")
    value = BitByBit(opcode, type, operands);
  else
    return {};
  return {.is_known = true, .bits = value, .type = result};
}

}  // namespace cuda_emulator::model
