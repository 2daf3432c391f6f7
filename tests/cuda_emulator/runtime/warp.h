// Rendezvous of the lanes of a warp: every operation that needs several lanes goes through a Meeting.
#pragma once

#include <cstdint>

#include "tests/cuda_emulator/runtime/block.h"

namespace cuda_emulator {

enum class WarpOperation : uint8_t { kSync, kExchange, kShuffle, kBallot, kLoadMatrix, kMma };

inline constexpr uint32_t kMeetingBytesPerLane = 64;

struct Meeting {
  uint32_t mask;
  uint32_t arrived;    // lanes
  uint32_t num_to_go;  // lanes that have not read their result
  WarpOperation operation;
  const void* site;
  Where where;                                                   // of the first lane
  alignas(64) std::byte room[kWarpSize * kMeetingBytesPerLane];  // operands, then results; the operation's own layout
};

// The running lane comes to the meeting of its mask, which opens if it is the first. Then it stores its operands.
Meeting& Join(WarpOperation operation, uint32_t mask, const void* site, Where where);
inline bool IsLast(const Meeting& meeting) { return meeting.arrived == meeting.mask; }
// The last lane has worked out the results: the others may go on.
void Complete(Meeting& meeting);
void AwaitCompletion(const Meeting& meeting, Where where);
// The running lane has taken its result.
void Leave(Meeting& meeting);

// Between Join and Leave for operations whose lanes only read each other's operands.
inline void Meet(Meeting& meeting, Where where) {
  if (IsLast(meeting)) {
    Complete(meeting);
  } else {
    AwaitCompletion(meeting, where);
  }
}

}  // namespace cuda_emulator
