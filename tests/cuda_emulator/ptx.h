// Everything that a translated kernel needs, in one include. Generated files include this and nothing else.
#pragma once

#include "tests/cuda_emulator/ptx_bits.h"
#include "tests/cuda_emulator/ptx_compare.h"
#include "tests/cuda_emulator/ptx_convert.h"
#include "tests/cuda_emulator/ptx_float.h"
#include "tests/cuda_emulator/ptx_half.h"
#include "tests/cuda_emulator/ptx_half_arithmetic.h"
#include "tests/cuda_emulator/ptx_integer.h"
#include "tests/cuda_emulator/ptx_memory.h"
#include "tests/cuda_emulator/ptx_thread.h"
#include "tests/cuda_emulator/runtime/device_api.h"
#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator::ptx {

// A register as another type of its width.
template <typename To, typename From>
constexpr To Bits(From from) {
  return std::bit_cast<To>(from);
}
// What an unwritten register holds: ones, a NaN as a float.
template <typename T>
T Poison() {
  T poison;
  std::memset(&poison, 0xff, sizeof poison);
  return poison;
}

}  // namespace cuda_emulator::ptx
