// Numbers of every PTX type as exact wide values, for models of instructions. Written from the PTX ISA's text and
// slow on purpose: rounding searches all codes of a format for the two neighbours of a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_emulator::model {

__extension__ using Real = __float128;  // 113 bits
__extension__ using Integer = __int128;

// "s32" and the like; also f16, bf16, e4m3, e5m2, f32, f64, pred.
struct Type {
  char kind = 'u';  // u, s, b, f, p
  int bits = 32;
  int exponent_bits = 0, mantissa_bits = 0;
  bool has_infinity = true;
};
Type ParseType(std::string_view name);

enum class Mode { kNearest, kZero, kDown, kUp };

Integer DecodeInteger(const Type& type, uint64_t bits);
uint64_t EncodeInteger(const Type& type, Integer value);  // the low bits
Integer Largest(const Type& type);
Integer Smallest(const Type& type);

bool IsNan(const Type& type, uint64_t bits);
bool IsInfinite(const Type& type, uint64_t bits);
bool IsNegative(const Type& type, uint64_t bits);
bool IsSubnormal(const Type& type, uint64_t bits);
bool IsZero(const Type& type, uint64_t bits);
uint64_t Infinity(const Type& type, bool is_negative);
uint64_t CanonicalNan(const Type& type);
uint64_t Zero(const Type& type, bool is_negative);

Real Decode(const Type& type, uint64_t bits);  // of a finite number
// Rounds a finite value; zero gets the sign. Overflow by the mode, or to the largest number if there is no infinity.
uint64_t Encode(const Type& type, Real value, Mode mode, bool is_negative_zero);
// a + b with 113 bits and the last one set if bits were lost: rounding it again is rounding once.
Real OddSum(Real a, Real b);
Real SquareRoot(Real value);

// An opcode split at its dots.
class Opcode {
 public:
  explicit Opcode(std::string_view text);
  const std::string& name() const { return parts_[0]; }
  const std::string& part(size_t index) const { return parts_[index]; }
  size_t size() const { return parts_.size(); }
  const std::string& last() const { return parts_.back(); }
  bool Has(std::string_view part) const;
  Mode mode() const;  // of .rn, .rzi and the like; nearest if there is none

 private:
  std::vector<std::string> parts_;
};

// What an instruction must give.
struct Expected {
  bool is_known = false;
  uint64_t bits = 0;
  Type type;
  bool any_nan = false;       // any NaN of the type is right
  bool any_nan_high = false;  // the same of the upper half of a pair
  Type half{};                // of a pair
  double relative = 0;        // else, how far a float may be off
  double absolute = 0;
};

Expected ModelInteger(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                      const std::vector<uint64_t>& operands);
Expected ModelBits(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                   const std::vector<uint64_t>& operands);
Expected ModelFloat(const Opcode& opcode, const Type& result, const std::vector<uint64_t>& operands);
Expected ModelApproximate(const Opcode& opcode, const std::vector<uint64_t>& operands);
Expected ModelChoice(const Opcode& opcode, const std::vector<Type>& types, const std::vector<uint64_t>& operands);
Expected ModelConversion(const Opcode& opcode, const Type& result, const std::vector<Type>& types,
                         const std::vector<uint64_t>& operands);

}  // namespace cuda_emulator::model
