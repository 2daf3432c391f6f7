#include "tests/cuda_emulator/runtime/device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/host_api.h"
#include "tests/cuda_emulator/runtime/shadow.h"

namespace cuda_emulator {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kDefaultBytes = 16ull << 30;

// Whole pages, and one more that stays unmapped.
uint64_t ReservedBytes(uint64_t bytes) { return (bytes + 2 * kPageBytes - 1) / kPageBytes * kPageBytes; }

uint64_t RegionBytes() {
  const char* text = std::getenv("CUDA_EMULATOR_DEVICE_BYTES");
  const uint64_t bytes = text == nullptr ? kDefaultBytes : std::strtoull(text, nullptr, 10);
  return bytes / kPageBytes * kPageBytes;
}

}  // namespace

DeviceMemory& DeviceMemory::Get() {
  static auto* memory = new DeviceMemory;  // kernels of static destructors would still need it
  return *memory;
}

DeviceMemory::DeviceMemory() {
  const uint64_t bytes = RegionBytes();
  void* base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) Fail(CUDA_EMULATOR_HERE, "host", "no address space for the device memory");
  region_.shared_by_blocks = true;
  region_.SetRange(base, bytes);
  region_.MapState();
  gaps_[0] = bytes;
}

DeviceMemory::Gaps::iterator DeviceMemory::FindGap(uint64_t bytes) {
  auto fits_from = [&](uint64_t start, const auto& gap) {
    return gap.first + gap.second >= std::max(start, gap.first) + bytes;
  };
  auto first = gaps_.upper_bound(next_offset_);
  if (first != gaps_.begin()) --first;
  for (auto gap = first; gap != gaps_.end(); ++gap) {
    if (fits_from(next_offset_, *gap)) return gap;
  }
  return std::find_if(gaps_.begin(), gaps_.end(), [&](const auto& gap) { return fits_from(0, gap); });
}

void* DeviceMemory::Allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > region_.bytes()) return nullptr;
  const uint64_t reserved = ReservedBytes(bytes);
  const auto gap = FindGap(reserved);
  if (gap == gaps_.end()) return nullptr;
  // Takes the part behind the last allocation, where the gap has it: freed memory stays unused as long as possible.
  const uint64_t end = gap->first + gap->second;
  const bool goes_on = gap->first < next_offset_ && next_offset_ + reserved <= end;
  const uint64_t offset = goes_on ? next_offset_ : gap->first;
  if (goes_on) {
    gap->second = offset - gap->first;
  } else {
    gaps_.erase(gap);
  }
  if (offset + reserved < end) gaps_[offset + reserved] = end - offset - reserved;
  void* address = region_.AddressOf(offset);
  if (mprotect(address, reserved - kPageBytes, PROT_READ | PROT_WRITE) != 0) {
    Fail(CUDA_EMULATOR_HERE, "host", "no memory for a device allocation of %llu bytes",
         static_cast<unsigned long long>(bytes));
  }
  std::memset(address, 0xFF, reserved - kPageBytes);
  std::memset(region_.state() + offset, kUnallocated, reserved);
  std::memset(region_.state() + offset, kUninitialised, bytes);
  allocations_[offset] = bytes;
  bytes_reserved_ += reserved;
  next_offset_ = offset + reserved;
  return address;
}

void DeviceMemory::Free(void* address) {
  uint64_t offset = region_.OffsetOf(address);
  const auto allocation = allocations_.find(offset);
  if (allocation == allocations_.end()) Fail(CUDA_EMULATOR_HERE, "host", "%p is no live allocation", address);
  uint64_t reserved = ReservedBytes(allocation->second);
  std::memset(region_.state() + offset, kFreed, allocation->second);
  allocations_.erase(allocation);
  bytes_reserved_ -= reserved;
  madvise(address, reserved, MADV_DONTNEED);
  mprotect(address, reserved, PROT_NONE);

  auto above = gaps_.lower_bound(offset);
  if (above != gaps_.end() && above->first == offset + reserved) {
    reserved += above->second;
    above = gaps_.erase(above);
  }
  if (above != gaps_.begin()) {
    const auto below = std::prev(above);
    if (below->first + below->second == offset) {
      offset = below->first;
      reserved += below->second;
    }
  }
  gaps_[offset] = reserved;
}

bool DeviceMemory::FindAtOrBelow(const void* address, Allocation* found) const {
  auto allocation = allocations_.upper_bound(region_.OffsetOf(address));
  if (allocation == allocations_.begin()) return false;
  --allocation;
  *found = {allocation->first, allocation->second};
  return true;
}

void DeviceMemory::NoticePlainWrites() {
  if (!std::exchange(plain_kernel_ran_, false)) return;
  for (const auto& [offset, bytes] : allocations_) std::memset(region_.state() + offset, kInitialised, bytes);
}

void* AllocateDevice(uint64_t bytes) { return DeviceMemory::Get().Allocate(bytes); }

void FreeDevice(void* address) { DeviceMemory::Get().Free(address); }

uint64_t DeviceBytesFree() { return DeviceMemory::Get().bytes_free(); }

uint64_t DeviceBytesTotal() { return DeviceMemory::Get().region().bytes(); }

bool IsDeviceRange(const void* address, uint64_t bytes) {
  DeviceMemory& memory = DeviceMemory::Get();
  if (!memory.region().Contains(address, bytes)) return FindVariableRegion(address, bytes) != nullptr;
  DeviceMemory::Allocation allocation;
  if (!memory.FindAtOrBelow(address, &allocation)) return false;
  const uint64_t offset = memory.region().OffsetOf(address);
  return bytes <= allocation.bytes && offset - allocation.offset <= allocation.bytes - bytes;
}

bool IsAllocation(const void* address) {
  DeviceMemory& memory = DeviceMemory::Get();
  DeviceMemory::Allocation allocation;
  return memory.region().Contains(address, 1) && memory.FindAtOrBelow(address, &allocation) &&
         allocation.offset == memory.region().OffsetOf(address);
}

namespace {

// Null for module variables, whose bytes are always initialised.
uint8_t* StateOf(const void* address, uint64_t bytes) {
  Region& region = DeviceMemory::Get().region();
  return region.Contains(address, bytes) ? region.state() + region.OffsetOf(address) : nullptr;
}

}  // namespace

void MarkInitialised(const void* address, uint64_t bytes) {
  uint8_t* state = StateOf(address, bytes);
  if (state != nullptr) std::memset(state, kInitialised, bytes);
}

void CopyShadow(void* to, const void* from, uint64_t bytes) {
  uint8_t* to_state = StateOf(to, bytes);
  const uint8_t* from_state = StateOf(from, bytes);
  if (to_state == nullptr) return;
  if (from_state == nullptr) {
    MarkInitialised(to, bytes);
  } else {
    std::memmove(to_state, from_state, bytes);
  }
}

uint64_t FirstUninitialised(const void* address, uint64_t bytes) {
  DeviceMemory::Get().NoticePlainWrites();
  const uint8_t* state = StateOf(address, bytes);
  uint64_t i = state == nullptr ? bytes : 0;
  while (i < bytes && state[i] == kInitialised) ++i;
  return i;
}

}  // namespace cuda_emulator
