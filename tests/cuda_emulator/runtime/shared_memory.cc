#include "tests/cuda_emulator/runtime/shared_memory.h"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>

#include "tests/cuda_emulator/runtime/block.h"
#include "tests/cuda_emulator/runtime/failure.h"

namespace cuda_emulator {
namespace {

constexpr uint64_t kDynamicAlignment = 1024;

// All windows, of which only the first kArenaBytes will be mapped: what lies between faults.
std::byte* Windows() {
  static std::byte* windows = [] {
    void* mapped = mmap(nullptr, (kNumArenas + 1) * kArenaWindowBytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
    if (mapped == MAP_FAILED) Fail(CUDA_EMULATOR_HERE, "host", "no room below 4 GiB for shared memory");
    const auto address = (reinterpret_cast<uintptr_t>(mapped) + kArenaWindowBytes - 1) & ~(kArenaWindowBytes - 1);
    return reinterpret_cast<std::byte*>(address);
  }();
  return windows;
}

}  // namespace

void SharedArena::Reserve(uint32_t slot) {
  if (base_ != nullptr) return;
  base_ = Windows() + slot * kArenaWindowBytes;
  if (mprotect(base_, kArenaBytes, PROT_READ | PROT_WRITE) != 0) {
    Fail(CUDA_EMULATOR_HERE, "host", "no memory for a block's shared memory");
  }
  region_.SetRange(base_, kArenaBytes);
}

void SharedArena::Prepare(uint64_t static_bytes, uint64_t dynamic_bytes, bool shadow) {
  if (static_bytes + dynamic_bytes > kMaxSharedBytes) {
    Fail(CUDA_EMULATOR_HERE, "launch", "%llu bytes of shared memory, at most %llu",
         static_cast<unsigned long long>(static_bytes + dynamic_bytes),
         static_cast<unsigned long long>(kMaxSharedBytes));
  }
  const uint64_t dynamic_offset = (static_bytes + kDynamicAlignment - 1) & ~(kDynamicAlignment - 1);
  dynamic_ = base_ + dynamic_offset;
  const uint64_t used_bytes = dynamic_offset + dynamic_bytes;
  std::memset(base_, 0xFF, std::max(used_bytes, used_bytes_));
  used_bytes_ = used_bytes;
  if (!shadow) return;
  region_.MapShadow();
  std::memset(region_.state(), kUnallocated, kArenaBytes);
  std::memset(region_.state(), kUninitialised, static_bytes);
  std::memset(region_.state() + dynamic_offset, kUninitialised, dynamic_bytes);
}

std::byte* SharedBase() { return running->block->shared.base(); }

std::byte* DynamicShared() { return running->block->shared.dynamic(); }

bool IsSharedAddress(const void* pointer) {
  const auto* address = static_cast<const std::byte*>(pointer);
  return address >= SharedBase() && address < SharedBase() + kArenaWindowBytes;
}

}  // namespace cuda_emulator
