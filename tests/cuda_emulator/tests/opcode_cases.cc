#include "tests/cuda_emulator/tests/opcode_cases.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace cuda_emulator {
namespace {

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

const std::vector<uint64_t> kIntegerEdges = {0,
                                             1,
                                             2,
                                             3,
                                             7,
                                             8,
                                             15,
                                             16,
                                             17,
                                             31,
                                             32,
                                             33,
                                             63,
                                             64,
                                             65,
                                             127,
                                             128,
                                             129,
                                             255,
                                             256,
                                             0x7fff,
                                             0x8000,
                                             0xffff,
                                             0x10000,
                                             0x7fffffff,
                                             0x80000000,
                                             0x80000001,
                                             0xfffffffe,
                                             0xffffffff,
                                             0x100000000,
                                             ~uint64_t{0},
                                             ~uint64_t{1},
                                             uint64_t{1} << 63,
                                             (uint64_t{1} << 63) - 1,
                                             (uint64_t{1} << 63) + 1,
                                             0xffffffff80000000};
const std::vector<double> kFloatEdges = {0.0,
                                         -0.0,
                                         1.0,
                                         -1.0,
                                         0.5,
                                         -0.5,
                                         1.5,
                                         2.5,
                                         -2.5,
                                         3.0,
                                         0.25,
                                         127.5,
                                         128.0,
                                         255.5,
                                         448.0,
                                         464.0,
                                         465.0,
                                         65504.0,
                                         65519.0,
                                         65520.0,
                                         57344.0,
                                         61440.0,
                                         -61441.0,
                                         0x1p-9,
                                         0x1p-10,
                                         0x1p-14,
                                         0x1p-24,
                                         0x1p-25,
                                         0x1.8p-25,
                                         0x1p-126,
                                         0x1p-127,
                                         0x1p-149,
                                         -0x1p-149,
                                         0x1p-150,
                                         0x1p126,
                                         0x1p127,
                                         0x1.8p127,
                                         0x1.fffffep127,
                                         0x1p128,
                                         0x1p31,
                                         0x1.fffffep30,
                                         -0x1p31,
                                         0x1p32,
                                         0x1p63,
                                         0x1p64,
                                         -0x1p63,
                                         0x1.fffffffffffffp62,
                                         8388608.5,
                                         16777217.0,
                                         0x1p-1022,
                                         0x1p-1074,
                                         0x1.fffffffffffffp1023,
                                         1 + 0x1p-23,
                                         1 + 0x1p-8,
                                         1 + 0x1p-11,
                                         1.0009765625,
                                         -3.14159,
                                         1e-30,
                                         1e30};

// A float's bits in the format of `bits` bits, roughly: for operands only.
uint64_t FloatBits(const std::string& type, double value) {
  if (type == "f64") return std::bit_cast<uint64_t>(value);
  const uint32_t single = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (type == "f32") return single;
  if (type == "bf16") return single >> 16;
  const auto exponent = static_cast<int>(single >> 23 & 255) - 112;
  const uint32_t sign = single >> 16 & 0x8000;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent <= 0) return sign | (exponent < -10 ? 0 : (0x400u | (single >> 13 & 0x3ff)) >> (1 - exponent));
  return sign | static_cast<uint32_t>(exponent) << 10 | (single >> 13 & 0x3ff);
}

uint64_t RandomFloat(const std::string& type, std::mt19937_64& random) {
  const uint64_t infinity = type == "f64"   ? 0x7ff0000000000000
                            : type == "f32" ? 0x7f800000
                            : type == "f16" ? 0x7c00
                                            : 0x7f80;
  switch (random() % 8) {
    case 0:
      return random();
    case 1:
      return infinity + (random() % 3);
    case 2:
      return FloatBits(type,
                       std::ldexp(static_cast<double>(random() % 4096) - 2048, static_cast<int>(random() % 24) - 12));
    case 3:
      return FloatBits(type, std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 90) - 110));
    case 4:
      return random() % 512;  // subnormal
    default:
      return FloatBits(type, kFloatEdges[random() % kFloatEdges.size()]);
  }
}

}  // namespace

uint64_t RandomOperand(const std::string& type, std::mt19937_64& random) {
  if (type == "f16x2" || type == "bf16x2") {
    const std::string half = type.substr(0, type.size() - 2);
    return (RandomFloat(half, random) & 0xffff) << 16 | (RandomFloat(half, random) & 0xffff);
  }
  if (type[0] == 'f' || type == "bf16") return RandomFloat(type, random);
  switch (random() % 4) {
    case 0:
      return random();
    case 1:
      return random() % 70;
    default:
      return kIntegerEdges[random() % kIntegerEdges.size()];
  }
}

std::vector<OpcodeCase> CasesOf(const std::string& kernel_prefix) {
  const char* path = std::getenv("OPCODE_CASES");
  std::ifstream file(path != nullptr ? path : CUDA_EMULATOR_OPCODE_CASES);
  std::vector<OpcodeCase> cases;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    OpcodeCase found;
    std::string sources, constants;
    words >> found.kernel >> found.index >> found.opcode >> found.result >> sources >> constants;
    found.sources = SplitAtCommas(sources);
    found.constants = SplitAtCommas(constants);
    if (found.kernel.starts_with(kernel_prefix)) cases.push_back(found);
  }
  return cases;
}

std::vector<std::vector<OpcodeCase>> ByKernel(const std::vector<OpcodeCase>& cases) {
  std::vector<std::vector<OpcodeCase>> groups;
  for (const OpcodeCase& one : cases) {
    if (groups.empty() || groups.back().front().kernel != one.kernel) groups.emplace_back();
    groups.back().push_back(one);
  }
  return groups;
}

std::vector<uint8_t> RunShape(const std::string& kernel, Dim3 grid, Dim3 block, const std::vector<uint8_t>& operands,
                              uint64_t result_bytes) {
  const Kernel* found = FindKernel(kernel.c_str());
  if (found == nullptr) throw std::runtime_error("no kernel " + kernel);
  void* pointers[2] = {AllocateDevice(operands.size()), AllocateDevice(result_bytes)};
  std::memcpy(pointers[0], operands.data(), operands.size());
  MarkInitialised(pointers[0], operands.size());
  std::memset(pointers[1], 0xa5, result_bytes);
  MarkInitialised(pointers[1], result_bytes);
  std::byte parameters[sizeof pointers];
  std::memcpy(parameters, pointers, sizeof pointers);
  RunGrid(*found, grid, block, 0, parameters);
  std::vector<uint8_t> results(result_bytes);
  std::memcpy(results.data(), pointers[1], result_bytes);
  FreeDevice(pointers[0]);
  FreeDevice(pointers[1]);
  return results;
}

std::vector<uint8_t> RunOnSlots(const std::string& kernel, const std::vector<uint8_t>& operands,
                                uint64_t result_bytes) {
  return RunShape(kernel, {kSlots / 256, 1, 1}, {256, 1, 1}, operands, result_bytes);
}

}  // namespace cuda_emulator
