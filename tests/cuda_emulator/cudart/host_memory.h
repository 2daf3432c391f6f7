// Memory as copies see it: device, pinned host, or the host's pageable memory. Guarded by the API mutex.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator {

enum class MemoryKind { kDevice, kPinned, kPageable };

// By where the first byte lies. Device memory may be dead.
MemoryKind KindOf(const void* address);
bool IsPinnedRange(const void* address, uint64_t bytes);  // inside one live pinned allocation

void* AllocatePinned(uint64_t bytes);  // page-aligned, 0xFF; null: no room
bool FreePinned(void* address);        // false: not the start of a live one

}  // namespace cuda_emulator
