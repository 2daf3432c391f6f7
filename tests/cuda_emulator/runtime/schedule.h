// Which thread runs next. Ready threads are bits: a mask of lanes per warp, a mask of warps per block.
#pragma once

#include <bit>
#include <cstdint>

#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {

inline constexpr uint32_t kWarpSize = 32;
inline constexpr uint32_t kMaxWarps = 32;

inline uint32_t LowestBit(uint32_t mask) { return static_cast<uint32_t>(std::countr_zero(mask)); }
inline uint32_t HighestBit(uint32_t mask) { return 31 - static_cast<uint32_t>(std::countl_zero(mask)); }
// The first set bit at or after `start`, cyclically.
inline uint32_t FirstBitFrom(uint32_t mask, uint32_t start) {
  return (LowestBit(std::rotr(mask, static_cast<int>(start & 31))) + start) & 31;
}

inline bool IsRandom(ScheduleKind kind) { return kind != ScheduleKind::kInOrder && kind != ScheduleKind::kReverse; }

}  // namespace cuda_emulator
