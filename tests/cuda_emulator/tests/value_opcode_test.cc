// Every opcode that computes a value from values, on edge and random operands, against its model.
#include <bit>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/tests/number_model.h"
#include "tests/cuda_emulator/tests/opcode_cases.h"

namespace cuda_emulator {
namespace {

using model::Expected;
using model::Type;

constexpr uint64_t kOperandBytes = 32, kResultBytes = 8;

Expected Model(const OpcodeCase& one, const std::vector<uint64_t>& operands) {
  const model::Opcode opcode(one.opcode);
  const Type result = model::ParseType(one.result);
  std::vector<Type> types;
  for (const std::string& source : one.sources) types.push_back(model::ParseType(source));
  if (opcode.name() == "cvt") return model::ModelConversion(opcode, result, types, operands);
  const bool is_predicate = opcode.last() == "pred" && opcode.name() != "mov";
  for (const char* name : {"setp", "selp", "testp", "isspacep", "mov", "cvta"}) {
    if (opcode.name() == name || is_predicate) return model::ModelChoice(opcode, types, operands);
  }
  if (opcode.Has("approx") || opcode.Has("full")) return model::ModelApproximate(opcode, operands);
  if (result.kind == 'f' || opcode.last().ends_with("16x2")) return model::ModelFloat(opcode, result, operands);
  const Expected integer = model::ModelInteger(opcode, result, types, operands);
  return integer.is_known ? integer : model::ModelBits(opcode, result, types, operands);
}

uint64_t Low(uint64_t bits, int count) { return count == 64 ? bits : bits & ((uint64_t{1} << count) - 1); }

bool IsClose(const Expected& expected, uint64_t bits) {
  const auto wanted = std::bit_cast<float>(static_cast<uint32_t>(expected.bits));
  const auto found = std::bit_cast<float>(static_cast<uint32_t>(bits));
  return std::fabs(wanted - found) <= std::fabs(wanted) * expected.relative + expected.absolute;
}

bool Agrees(const Expected& expected, uint64_t bits) {
  const Type& type = expected.type;
  if (expected.half.kind == 'f') {
    const int n = expected.half.bits;
    const auto agrees = [&](uint64_t found, uint64_t wanted, bool any_nan) {
      return found == wanted || (any_nan && model::IsNan(expected.half, found));
    };
    return agrees(Low(bits, n), Low(expected.bits, n), expected.any_nan) &&
           agrees(Low(bits >> n, n), Low(expected.bits >> n, n), expected.any_nan_high);
  }
  if (type.bits == 8) {  // kept in 16 bits, extended
    const Type wide{.kind = type.kind, .bits = 16};
    return Low(bits, 16) == model::EncodeInteger(wide, model::DecodeInteger(type, expected.bits));
  }
  const uint64_t found = Low(bits, type.kind == 'p' ? 32 : type.bits);
  if (found == Low(expected.bits, type.bits)) return true;
  if (expected.any_nan) return model::IsNan(type, found);
  return expected.relative > 0 && IsClose(expected, found);
}

std::string Hexadecimal(uint64_t bits) {
  char text[20];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(bits));
  return text;
}

void CheckCase(const OpcodeCase& one, const std::vector<uint64_t>& operands, const std::vector<uint8_t>& results) {
  int num_wrong = 0;
  for (uint32_t slot = 0; slot < kSlots && num_wrong < 3; ++slot) {
    std::vector<uint64_t> own;
    std::string shown;
    for (size_t i = 0; i < one.sources.size(); ++i) {
      const bool is_constant = one.constants[i] != "-";
      const uint64_t bits = is_constant ? std::stoull(one.constants[i]) : operands[4 * slot + i];
      own.push_back(Low(bits, std::max(model::ParseType(one.sources[i]).bits, 1)));
      shown.append(" ").append(Hexadecimal(own.back()));
    }
    const Expected expected = Model(one, own);
    ASSERT_TRUE(expected.is_known) << one.opcode << " has no model";
    uint64_t bits = 0;
    std::memcpy(&bits, &results[(uint64_t{one.index} * kSlots + slot) * kResultBytes], sizeof bits);
    if (Agrees(expected, bits)) continue;
    ++num_wrong;
    ADD_FAILURE() << one.opcode << " of" << shown << ": expected " << Hexadecimal(expected.bits)
                  << (expected.any_nan ? " (any NaN)" : "") << ", found " << Hexadecimal(bits);
  }
}

TEST(ValueOpcodes, AgreeWithTheirModels) {
  const auto groups = ByKernel(CasesOf("value_"));
  ASSERT_GT(groups.size(), 50u);
  std::mt19937_64 random(20240607);
  for (const auto& cases : groups) {
    std::vector<uint64_t> operands(kSlots * 4);
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      for (size_t i = 0; i < cases[0].sources.size(); ++i) {
        operands[4 * slot + i] = RandomOperand(cases[0].sources[i], random);
      }
    }
    std::vector<uint8_t> bytes(operands.size() * sizeof(uint64_t));
    static_assert(kOperandBytes == 4 * sizeof(uint64_t));
    std::memcpy(bytes.data(), operands.data(), bytes.size());
    const auto results = RunOnSlots(cases[0].kernel, bytes, cases.size() * kSlots * kResultBytes);
    for (const OpcodeCase& one : cases) CheckCase(one, operands, results);
  }
}

}  // namespace
}  // namespace cuda_emulator
