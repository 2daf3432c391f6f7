// The cases that opcode_cases.py listed, and running their kernels. For the opcode tests.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {

inline constexpr uint32_t kSlots = 1024;  // threads of a case

struct OpcodeCase {
  std::string kernel;
  uint32_t index = 0;
  std::string opcode, result;
  std::vector<std::string> sources, constants;
};

// Cases of kernels whose names start so, in order; from the file of environment variable OPCODE_CASES or the build's.
std::vector<OpcodeCase> CasesOf(const std::string& kernel_prefix);
// The cases of each kernel together.
std::vector<std::vector<OpcodeCase>> ByKernel(const std::vector<OpcodeCase>& cases);

// Runs a kernel of two pointers on kSlots threads; `operands` go in, `result_bytes` of poison and results come back.
std::vector<uint8_t> RunOnSlots(const std::string& kernel, const std::vector<uint8_t>& operands, uint64_t result_bytes);
std::vector<uint8_t> RunShape(const std::string& kernel, Dim3 grid, Dim3 block, const std::vector<uint8_t>& operands,
                              uint64_t result_bytes);

// Edge values of the type and random ones.
uint64_t RandomOperand(const std::string& type, std::mt19937_64& random);

}  // namespace cuda_emulator
