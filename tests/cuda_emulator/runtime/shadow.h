// Checks of shadow kernels' accesses: allocation and initialisation here, races in history.h.
#pragma once

#include <cstdint>

#include "tests/cuda_emulator/runtime/async_copy.h"
#include "tests/cuda_emulator/runtime/host_api.h"
#include "tests/cuda_emulator/runtime/region.h"

namespace cuda_emulator {

// Before the first and after the last block.
void BeginLaunch(const Kernel& kernel, const std::byte* parameters);
void EndLaunch(const Kernel& kernel);

// The issue of a cp.async is a read of its source and a write of its destination, which is in flight until the wait.
// The destination then is initialised where the source was.
void BeginAsyncCopy(const AsyncRequest& request);
void EndAsyncCopy(const AsyncRequest& request, Where where);

void AddVariableRegion(const Variable& variable);
Region* FindVariableRegion(const void* address, uint64_t bytes);

}  // namespace cuda_emulator
