// A range of memory that kernels may use, and its shadow: for every byte whether it is allocated and written, and who
// touched it last. Planes are mapped when first needed and cost memory only where touched.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

enum ByteState : uint8_t {
  kUnallocated = 0,
  kUninitialised = 1,
  kInitialised = 2,
  kInFlight = 3,  // destination of a cp.async that its thread has not waited for
  kFreed = 4,
};

// A thread's stretch between two synchronisations, or a set of such; see history.h. 0: no access.
using AccessId = uint32_t;

class Region {
 public:
  void SetRange(void* base, uint64_t bytes);
  void MapState();
  void MapShadow();  // state and history
  // Forgets the accesses to all regions: access ids start anew.
  static void ForgetHistory();

  bool Contains(const void* address, uint64_t bytes) const {
    const uint64_t offset = reinterpret_cast<uintptr_t>(address) - base_;
    return offset < bytes_ && bytes <= bytes_ - offset;
  }
  uint64_t OffsetOf(const void* address) const { return reinterpret_cast<uintptr_t>(address) - base_; }
  void* AddressOf(uint64_t offset) const { return reinterpret_cast<void*>(base_ + offset); }

  uint64_t bytes() const { return bytes_; }
  uint8_t* state() { return state_; }
  AccessId* writers() { return writers_; }
  AccessId* readers() { return readers_; }              // the last block's that read
  AccessId* other_readers() { return other_readers_; }  // of some other block of the launch; null in shared memory

  bool shared_by_blocks = false;
  bool read_only = false;

 private:
  uintptr_t base_ = 0;
  uint64_t bytes_ = 0;
  uint8_t* state_ = nullptr;
  AccessId* writers_ = nullptr;
  AccessId* readers_ = nullptr;
  AccessId* other_readers_ = nullptr;
};

}  // namespace cuda_emulator
