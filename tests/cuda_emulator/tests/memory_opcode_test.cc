// Every load, store and atomic, against models on bytes.
#include <algorithm>
#include <bit>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/tests/number_model.h"
#include "tests/cuda_emulator/tests/opcode_cases.h"

namespace cuda_emulator {
namespace {

using model::Type;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kOperandBytes = 64, kLoadedBytes = 32, kStoredBytes = 64, kLoadOffset = 16, kStoreOffset = 32;

Bytes RandomBytes(uint64_t count) {
  std::mt19937 random(7);
  Bytes bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

uint64_t ReadLittleEndian(const uint8_t* from, uint64_t count) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < count; ++i) value |= static_cast<uint64_t>(from[i]) << (8 * i);
  return value;
}

// An element as a register of 32 or 64 bits shows it.
uint64_t Extended(const Type& type, uint64_t bits) {
  const Type wide{.kind = 'u', .bits = std::max(type.bits, 32)};
  return model::EncodeInteger(wide, model::DecodeInteger(type, bits));
}

TEST(LoadOpcodes, ExtendTheBytesOfMemory) {
  const Bytes operands = RandomBytes(kSlots * kOperandBytes);
  const auto groups = ByKernel(CasesOf("load_"));
  ASSERT_GT(groups.size(), 6u);
  for (const auto& cases : groups) {
    const Bytes results = RunOnSlots(cases[0].kernel, operands, cases.size() * kSlots * kLoadedBytes);
    for (const OpcodeCase& one : cases) {
      const Type type = model::ParseType(one.result);
      const uint64_t size = static_cast<uint64_t>(type.bits / 8), count = std::stoull(one.constants[0]);
      for (uint64_t slot = 0; slot < kSlots; ++slot) {
        for (uint64_t i = 0; i < count; ++i) {
          const uint64_t offset = size * i;
          uint64_t stored = 0;
          if (one.sources[0] == "const") {  // byte k of the table is 37 k + 11
            for (uint64_t k = 0; k < size; ++k) stored |= ((37 * (32 + offset + k) + 11) % 256) << (8 * k);
          } else {
            stored = ReadLittleEndian(&operands[slot * kOperandBytes + kLoadOffset + offset], size);
          }
          const uint8_t* at = &results[(one.index * uint64_t{kSlots} + slot) * kLoadedBytes + 8 * i];
          ASSERT_EQ(ReadLittleEndian(at, std::max<uint64_t>(size, 4)), Extended(type, stored))
              << one.opcode << " element " << i << " of thread " << slot;
        }
      }
    }
  }
}

TEST(StoreOpcodes, WriteTheirBytesAndNoOthers) {
  const Bytes operands = RandomBytes(kSlots * kOperandBytes);
  const auto groups = ByKernel(CasesOf("store_"));
  ASSERT_GT(groups.size(), 4u);
  for (const auto& cases : groups) {
    const Bytes results = RunOnSlots(cases[0].kernel, operands, cases.size() * kSlots * kStoredBytes);
    for (const OpcodeCase& one : cases) {
      const uint64_t bytes =
          static_cast<uint64_t>(model::ParseType(one.result).bits / 8) * std::stoull(one.constants[0]);
      for (uint64_t slot = 0; slot < kSlots; ++slot) {
        const auto own = operands.begin() + static_cast<int64_t>(slot * kOperandBytes);
        Bytes expected(own, own + kOperandBytes);
        std::copy_n(own, bytes, expected.begin() + kStoreOffset);
        const auto at = results.begin() + static_cast<int64_t>((one.index * uint64_t{kSlots} + slot) * kStoredBytes);
        ASSERT_EQ(Bytes(at, at + kStoredBytes), expected) << one.opcode << " of thread " << slot;
      }
    }
  }
}

uint64_t Combined(const std::string& operation, const Type& type, const uint64_t* v) {
  if (operation == "exch") return v[1];
  if (operation == "cas") return v[0] == v[1] ? v[2] : v[0];
  if (type.kind == 'f') {
    return model::ModelFloat(model::Opcode("add.f" + std::to_string(type.bits)), type, {v[0], v[1]}).bits;
  }
  if (operation == "and") return v[0] & v[1];
  if (operation == "or") return v[0] | v[1];
  if (operation == "xor") return v[0] ^ v[1];
  if (operation == "inc") return v[0] >= v[1] ? 0 : v[0] + 1;
  if (operation == "dec") return v[0] == 0 || v[0] > v[1] ? v[1] : v[0] - 1;
  const model::Integer a = model::DecodeInteger(type, v[0]), b = model::DecodeInteger(type, v[1]);
  if (operation == "min") return model::EncodeInteger(type, std::min(a, b));
  if (operation == "max") return model::EncodeInteger(type, std::max(a, b));
  return model::EncodeInteger(type, a + b);
}

bool SameOrNan(const Type& type, uint64_t a, uint64_t b) {
  return a == b || (type.kind == 'f' && model::IsNan(type, a) && model::IsNan(type, b));
}

TEST(AtomicOpcodes, GiveTheOldValueAndKeepTheNew) {
  constexpr uint64_t kAtomicOperandBytes = 32, kAtomicBytes = 16;
  std::mt19937_64 random(11);
  const auto groups = ByKernel(CasesOf("atomic_"));
  ASSERT_GT(groups.size(), 6u);
  for (const auto& cases : groups) {
    const Type type = model::ParseType(cases[0].result);
    const uint64_t mask = type.bits == 64 ? ~uint64_t{0} : (uint64_t{1} << type.bits) - 1;
    std::vector<uint64_t> values(kSlots * 4);
    for (uint64_t i = 0; i < values.size(); ++i) {
      const bool equals_cell = i % 4 == 1 && random() % 2 == 0;  // so that cas swaps
      values[i] = equals_cell ? values[i - 1] : RandomOperand(cases[0].result, random) & mask;
    }
    Bytes operands(kSlots * kAtomicOperandBytes);
    std::memcpy(operands.data(), values.data(), operands.size());
    const Bytes results = RunOnSlots(cases[0].kernel, operands, cases.size() * kSlots * kAtomicBytes);
    for (const OpcodeCase& one : cases) {
      for (uint64_t slot = 0; slot < kSlots; ++slot) {
        const uint64_t* own = &values[slot * 4];
        const uint8_t* at = &results[(one.index * uint64_t{kSlots} + slot) * kAtomicBytes];
        const auto bytes = static_cast<uint64_t>(type.bits / 8);
        if (one.opcode.starts_with("atom")) {
          ASSERT_EQ(ReadLittleEndian(at, bytes), own[0]) << one.opcode << " of thread " << slot;
        }
        ASSERT_TRUE(SameOrNan(type, ReadLittleEndian(at + 8, bytes), Combined(one.constants[0], type, own)))
            << one.opcode << " of thread " << slot << std::hex << ": " << own[0] << " " << own[1] << " " << own[2]
            << " gave " << ReadLittleEndian(at + 8, bytes);
      }
    }
  }
}

}  // namespace
}  // namespace cuda_emulator
