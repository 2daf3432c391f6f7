// The host's side of kernels and module variables: what nvcc's objects register as they are loaded. API mutex.
#pragma once

#include <cstdint>
#include <string>

#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {

inline constexpr uint32_t kSharedBytesByDefault = 48 << 10;
inline constexpr uint32_t kSharedBytesPerBlock = 227 << 10;  // static and dynamic, after cudaFuncSetAttribute
inline constexpr uint32_t kSharedBytesPerProcessor = 228 << 10;
inline constexpr uint32_t kSharedBytesOfRuntime = 1 << 10;  // of every block
inline constexpr uint32_t kThreadsPerProcessor = 2048;
inline constexpr uint32_t kBlocksPerProcessor = 32;
inline constexpr uint32_t kProcessors = 132;

struct Function {
  std::string name;                       // mangled
  uint32_t max_dynamic_shared_bytes = 0;  // cudaFuncSetAttribute's; 0: not called
};

// Null: not registered.
Function* FunctionOf(const void* host_function_or_kernel);
const Variable* VariableOf(const void* host_variable);
// The translated kernel; ends the run where no module has it.
const Kernel& KernelOf(const Function& function);

}  // namespace cuda_emulator
