// The interface of the fake CUDA runtime and generated modules: modules, launches, device memory, the seeded schedule.
// Owned by the emulator's runtime; callers hold the fake runtime's mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator {

struct KernelParameter {
  uint32_t offset, bytes;
};

struct Kernel {
  const char* name;  // mangled
  void (*run)(const std::byte* parameters);
  std::vector<KernelParameter> parameters;
  uint32_t parameter_bytes;
  uint32_t static_shared_bytes;
  uint32_t max_threads;  // .maxntid, 0: 1024
  bool shadow;
};

struct Variable {
  const char* name;
  void* address;
  uint64_t bytes;
  bool constant;
};

// A static object of each generated file. Where kernels or variables share a name, the last registered wins.
struct Module {
  Module(std::initializer_list<Kernel> kernels, std::initializer_list<Variable> variables);
};

// Both load the modules of CUDA_EMULATOR_KERNELS (paths of .so files or of directories with them, separated by colons)
// at first use. Null: not known.
const Kernel* FindKernel(const char* name);
const Variable* FindVariable(const char* name);

// Runs all blocks to their end. The launch limits are the caller's to check.
void RunGrid(const Kernel& kernel, Dim3 grid, Dim3 block, uint32_t dynamic_shared_bytes, const std::byte* parameters);

// Device memory: one region of CUDA_EMULATOR_DEVICE_BYTES (16 GiB), 0xFF and uninitialised when fresh. Null: no room.
void* AllocateDevice(uint64_t bytes);
void FreeDevice(void* address);                           // of a live allocation
bool IsDeviceRange(const void* address, uint64_t bytes);  // inside one live allocation or module variable
bool IsAllocation(const void* address);                   // the start of a live allocation
uint64_t DeviceBytesFree();
uint64_t DeviceBytesTotal();

// The shadow's side of copies and memsets by the host. Ranges must be device ranges.
void MarkInitialised(const void* address, uint64_t bytes);
void CopyShadow(void* to, const void* from, uint64_t bytes);
// The first byte of the range that no one has written, or `bytes` (shadow kernels only: after a plain kernel all is
// written).
uint64_t FirstUninitialised(const void* address, uint64_t bytes);

// From the environment at first use: CUDA_EMULATOR_SCHEDULE, CUDA_EMULATOR_SEED and CUDA_EMULATOR_ASYNC.
enum class ScheduleKind { kInOrder, kReverse, kRandomThread, kRandomWarp, kRandomBlockMix };
enum class AsyncCompletion { kEarly, kLate, kRandom };
struct Schedule {
  ScheduleKind kind = ScheduleKind::kInOrder;
  AsyncCompletion async = AsyncCompletion::kLate;
  uint64_t seed = 1;
};
const Schedule& CurrentSchedule();
void SetSchedule(const Schedule& schedule);  // for tests; restarts Random()

// The one seeded generator: thread, block and stream order are drawn from it.
uint32_t Random();

}  // namespace cuda_emulator
