// Device memory: one reserved region, from which cudaMalloc's allocations are cut. What is not allocated faults.
#pragma once

#include <cstdint>
#include <map>

#include "tests/cuda_emulator/runtime/region.h"

namespace cuda_emulator {

class DeviceMemory {
 public:
  static DeviceMemory& Get();

  void* Allocate(uint64_t bytes);  // null: no room
  void Free(void* address);
  uint64_t bytes_free() const { return region_.bytes() - bytes_reserved_; }

  // The live allocation that holds the address, or the last one below it; null: none.
  struct Allocation {
    uint64_t offset, bytes;
    bool holds(uint64_t at) const { return at >= offset && at - offset < bytes; }
  };
  bool FindAtOrBelow(const void* address, Allocation* found) const;
  // No one knows what a kernel without shadow wrote: when it matters next, all allocations count as initialised.
  void SetPlainKernelRan() { plain_kernel_ran_ = true; }
  void NoticePlainWrites();

  Region& region() { return region_; }

 private:
  using Gaps = std::map<uint64_t, uint64_t>;  // offset to bytes; whole pages

  DeviceMemory();
  Gaps::iterator FindGap(uint64_t bytes);

  Region region_;
  std::map<uint64_t, uint64_t> allocations_;  // offset to bytes asked for
  Gaps gaps_;
  uint64_t bytes_reserved_ = 0;
  bool plain_kernel_ran_ = false;
  uint64_t next_offset_ = 0;  // where the search for a gap begins: freed memory is reused as late as possible
};

}  // namespace cuda_emulator
