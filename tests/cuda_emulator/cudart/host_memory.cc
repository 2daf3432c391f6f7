#include "tests/cuda_emulator/cudart/host_memory.h"

#include <cstring>
#include <map>

#include <sys/mman.h>

#include "tests/cuda_emulator/runtime/device_memory.h"
#include "tests/cuda_emulator/runtime/shadow.h"

namespace cuda_emulator {
namespace {

constexpr uint64_t kPageBytes = 4096;

uint64_t WholePages(uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

std::map<uintptr_t, uint64_t>& Pinned() {
  static auto* pinned = new std::map<uintptr_t, uint64_t>;
  return *pinned;
}

}  // namespace

MemoryKind KindOf(const void* address) {
  if (DeviceMemory::Get().region().Contains(address, 1) || FindVariableRegion(address, 1) != nullptr) {
    return MemoryKind::kDevice;
  }
  return IsPinnedRange(address, 1) ? MemoryKind::kPinned : MemoryKind::kPageable;
}

bool IsPinnedRange(const void* address, uint64_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto allocation = Pinned().upper_bound(at);
  if (allocation == Pinned().begin()) return false;
  --allocation;
  const uint64_t offset = at - allocation->first;
  return offset < allocation->second && bytes <= allocation->second - offset;
}

void* AllocatePinned(uint64_t bytes) {
  void* address = mmap(nullptr, WholePages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  std::memset(address, 0xFF, bytes);
  Pinned()[reinterpret_cast<uintptr_t>(address)] = bytes;
  return address;
}

// The address range stays reserved, so that a later use faults.
bool FreePinned(void* address) {
  const auto allocation = Pinned().find(reinterpret_cast<uintptr_t>(address));
  if (allocation == Pinned().end()) return false;
  const uint64_t bytes = WholePages(allocation->second);
  Pinned().erase(allocation);
  madvise(address, bytes, MADV_DONTNEED);
  mprotect(address, bytes, PROT_NONE);
  return true;
}

}  // namespace cuda_emulator
