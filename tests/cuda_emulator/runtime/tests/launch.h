// Hand-written "kernels" for the runtime's tests: what a generated module would call, with its line as the site.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {

// One static object per place, as generated code has.
#define SITE                    \
  ([]() -> const void* {        \
    static const char site = 0; \
    return &site;               \
  }())
#define HERE CUDA_EMULATOR_HERE
#define SYNC_THREADS() BarrierSyncAt(0, 0, SITE, HERE)
#define LOAD(pointer) LoadAt(pointer, HERE)
#define STORE(pointer, value) StoreAt(pointer, value, HERE)

inline constexpr uint32_t kFullMask = ~0u;

// Whether the running kernel checks its accesses: a module's code has its checks compiled in.
inline bool checks_accesses = true;

template <typename T>
T LoadAt(const T* pointer, Where where) {
  if (checks_accesses) CheckLoad(pointer, sizeof(T), where);
  return *pointer;
}

template <typename T>
void StoreAt(T* pointer, T value, Where where) {
  if (checks_accesses) CheckStore(pointer, sizeof(T), where);
  *pointer = value;
}

template <typename T>
T* SharedArray(uint64_t byte_offset = 0) {
  return reinterpret_cast<T*>(SharedBase() + byte_offset);
}

inline uint32_t ThreadIndex() {
  const Dim3& tid = current_thread->tid;
  return (tid.z * ntid.y + tid.y) * ntid.x + tid.x;
}

struct LaunchShape {
  uint32_t blocks = 1;
  uint32_t threads = 32;
  uint32_t static_shared_bytes = 4096;
  uint32_t dynamic_shared_bytes = 0;
};

using KernelBody = void (*)(const std::byte*);

inline Kernel MakeKernel(KernelBody body, const LaunchShape& shape, bool shadow) {
  return {.name = "_ZN4test6KernelEv",
          .run = body,
          .parameters = {{0, 8}},
          .parameter_bytes = 8,
          .static_shared_bytes = shape.static_shared_bytes,
          .max_threads = 0,
          .shadow = shadow};
}

inline void RunKernel(const Kernel& kernel, const LaunchShape& shape, void* argument) {
  checks_accesses = kernel.shadow;
  std::byte parameters[8];
  std::memcpy(parameters, &argument, sizeof argument);
  RunGrid(kernel, {.x = shape.blocks}, {.x = shape.threads}, shape.dynamic_shared_bytes, parameters);
}

// The kernel's only parameter is a pointer.
inline void LaunchShadow(const LaunchShape& shape, KernelBody body, void* argument = nullptr) {
  RunKernel(MakeKernel(body, shape, true), shape, argument);
}
inline void LaunchPlain(const LaunchShape& shape, KernelBody body, void* argument = nullptr) {
  RunKernel(MakeKernel(body, shape, false), shape, argument);
}

template <typename T>
T* Argument(const std::byte* parameters) {
  T* pointer;
  std::memcpy(&pointer, parameters, sizeof pointer);
  return pointer;
}

template <typename T>
T* DeviceArray(uint64_t count) {
  return static_cast<T*>(AllocateDevice(count * sizeof(T)));
}

template <typename T>
T* DeviceArrayOf(const std::vector<T>& values) {
  T* array = DeviceArray<T>(values.size());
  std::memcpy(array, values.data(), values.size() * sizeof(T));
  MarkInitialised(array, values.size() * sizeof(T));
  return array;
}

inline const std::vector<ScheduleKind> kAllSchedules = {ScheduleKind::kInOrder, ScheduleKind::kReverse,
                                                        ScheduleKind::kRandomThread, ScheduleKind::kRandomWarp,
                                                        ScheduleKind::kRandomBlockMix};

// Ends the process with the message, as a failure should; the pattern is of the whole line.
#define EXPECT_FAILURE(statement, pattern) \
  EXPECT_EXIT(statement, ::testing::ExitedWithCode(::cuda_emulator::kFailureExitCode), pattern)

}  // namespace cuda_emulator
