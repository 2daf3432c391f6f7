// Shared memory of the resident blocks: one window per slot, below 4 GiB, so that 32-bit addresses are truncated
// pointers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/cuda_emulator/runtime/region.h"

namespace cuda_emulator {

inline constexpr uint32_t kNumArenas = 4;               // blocks that may be resident at once
inline constexpr uint64_t kArenaWindowBytes = 1 << 20;  // alignment and distance of the windows
inline constexpr uint64_t kArenaBytes = 256 << 10;      // mapped part of a window
inline constexpr uint64_t kMaxSharedBytes = 227 << 10;  // of one block: static and dynamic

class SharedArena {
 public:
  // Maps the window of a slot; once.
  void Reserve(uint32_t slot);
  // Poison for a new block; with `shadow`, every byte of the arrays is uninitialised and the rest is out of bounds.
  void Prepare(uint64_t static_bytes, uint64_t dynamic_bytes, bool shadow);

  std::byte* base() const { return base_; }
  std::byte* dynamic() const { return dynamic_; }
  Region& region() { return region_; }

 private:
  std::byte* base_ = nullptr;
  std::byte* dynamic_ = nullptr;
  uint64_t used_bytes_ = kArenaBytes;  // by the block before
  Region region_;
};

}  // namespace cuda_emulator
