#include "tests/cuda_emulator/runtime/warp.h"

#include <cstring>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/history.h"

namespace cuda_emulator {
namespace {

constexpr const char* kOperationNames[] = {"sync", "exchange", "shuffle", "ballot", "ldmatrix", "mma"};

const char* Name(WarpOperation operation) { return kOperationNames[static_cast<size_t>(operation)]; }

std::vector<Meeting*>& FreeMeetings() {
  static std::vector<Meeting*> free;
  return free;
}

Meeting* TakeFreeMeeting() {
  std::vector<Meeting*>& free = FreeMeetings();
  if (free.empty()) return new Meeting;
  Meeting* meeting = free.back();
  free.pop_back();
  return meeting;
}

void CheckMask(const Warp& warp, WarpOperation operation, uint32_t mask, Where where) {
  const uint32_t lane = running->state.lane;
  if ((mask >> lane & 1) == 0)
    Fail(where, "warp", "%s: lane %u is not in its own mask %08x", Name(operation), lane, mask);
  if ((mask & ~warp.existing) != 0) {
    Fail(where, "warp", "%s: the mask %08x names lanes %08x, which don't exist", Name(operation), mask,
         mask & ~warp.existing);
  }
  if ((mask & warp.exited) != 0) {
    Fail(where, "warp", "%s: the mask %08x names lanes %08x, which have exited", Name(operation), mask,
         mask & warp.exited);
  }
}

void CheckSameMeeting(const Meeting& meeting, WarpOperation operation, uint32_t mask, const void* site, Where where) {
  if (meeting.operation == operation && meeting.mask == mask && meeting.site == site) return;
  Fail(where, "warp",
       "lane %u comes to a %s with the mask %08x while lanes %08x wait in a %s with the mask %08x at %s:%d",
       running->state.lane, Name(operation), mask, meeting.arrived, Name(meeting.operation), meeting.mask,
       meeting.where.file, meeting.where.line);
}

Meeting* OpenMeeting(Warp& warp, WarpOperation operation, uint32_t mask, const void* site, Where where) {
  Meeting* meeting = TakeFreeMeeting();
  meeting->mask = mask;
  meeting->arrived = 0;
  meeting->num_to_go = static_cast<uint32_t>(std::popcount(mask));
  meeting->operation = operation;
  meeting->site = site;
  meeting->where = where;
  warp.open[warp.num_open++] = meeting;
  return meeting;
}

}  // namespace

Meeting& Join(WarpOperation operation, uint32_t mask, const void* site, Where where) {
  Warp& warp = RunningWarp();
  const uint32_t lane_bit = 1u << running->state.lane;
  for (uint32_t i = 0; i < warp.num_open; ++i) {
    Meeting& meeting = *warp.open[i];
    // It waits for this lane, and this lane would wait for lanes that are there: so it must be the same meeting. Any
    // other may still end before or after this one.
    if ((meeting.mask & lane_bit) == 0 || (meeting.arrived & mask) == 0) continue;
    CheckSameMeeting(meeting, operation, mask, site, where);
    meeting.arrived |= lane_bit;
    return meeting;
  }
  CheckMask(warp, operation, mask, where);
  Meeting* meeting = OpenMeeting(warp, operation, mask, site, where);
  meeting->arrived = lane_bit;
  return *meeting;
}

void Complete(Meeting& meeting) {
  Warp& warp = RunningWarp();
  uint32_t i = 0;
  while (warp.open[i] != &meeting) ++i;
  warp.open[i] = warp.open[--warp.num_open];
  Wake(*running->block, running->state.warp, meeting.mask & ~(1u << running->state.lane));
  if (meeting.num_to_go > 1) OfferTurn();
}

void AwaitCompletion(const Meeting& meeting, Where where) {
  running->wait = {.kind = WaitKind::kWarp, .barrier = 0, .mask = meeting.mask, .where = where};
  WaitToBeWoken();
}

void Leave(Meeting& meeting) {
  if (--meeting.num_to_go == 0) FreeMeetings().push_back(&meeting);
}

void CheckMeetingsAtExit(const Thread& thread) {
  const Warp& warp = thread.block->warps[thread.state.warp];
  for (uint32_t i = 0; i < warp.num_open; ++i) {
    const Meeting& meeting = *warp.open[i];
    if ((meeting.mask >> thread.state.lane & 1) != 0) {
      Fail(meeting.where, "warp", "lane %u exits while lanes %08x wait for it in a %s with the mask %08x",
           thread.state.lane, meeting.arrived, Name(meeting.operation), meeting.mask);
    }
  }
}

void WarpSync(uint32_t mask, Where where) {
  Meeting& meeting = Join(WarpOperation::kSync, mask, nullptr, where);
  if (IsLast(meeting) && running_kernel->shadow) {
    running->block->history->SynchroniseLanes(running->state.warp, mask);
  }
  Meet(meeting, where);
  Leave(meeting);
}

void WarpExchange(uint32_t mask, const void* site, const void* in, uint32_t bytes, void* out, Where where) {
  if (bytes > kMeetingBytesPerLane)
    Fail(where, "warp", "exchange of %u bytes, at most %u", bytes, kMeetingBytesPerLane);
  Meeting& meeting = Join(WarpOperation::kExchange, mask, site, where);
  if (std::has_single_bit(meeting.arrived) && mask != ~0u) std::memset(meeting.room, 0xFF, kWarpSize * bytes);
  std::memcpy(meeting.room + running->state.lane * bytes, in, bytes);
  Meet(meeting, where);
  std::memcpy(out, meeting.room, kWarpSize * bytes);
  Leave(meeting);
}

uint32_t Shuffle(int mode, uint32_t value, uint32_t lane_operand, uint32_t clamp, uint32_t mask, bool* valid,
                 const void* site, Where where) {
  const uint32_t lane = running->state.lane;
  Meeting& meeting = Join(WarpOperation::kShuffle, mask, site, where);
  auto* values = reinterpret_cast<uint32_t*>(meeting.room);
  values[lane] = value;
  Meet(meeting, where);

  // The names and the arithmetic of the PTX manual's shfl.sync.
  const uint32_t segment_mask = clamp >> 8 & 31;
  const uint32_t last_lane = (lane & segment_mask) | (clamp & 31 & ~segment_mask);
  const uint32_t operand = lane_operand & 31;
  uint32_t source = 0;
  bool in_range = false;
  switch (mode) {
    case kShuffleUp:
      source = lane - operand;
      in_range = static_cast<int32_t>(source) >= static_cast<int32_t>(last_lane);
      break;
    case kShuffleDown:
      source = lane + operand;
      in_range = source <= last_lane;
      break;
    case kShuffleButterfly:
      source = lane ^ operand;
      in_range = source <= last_lane;
      break;
    default:
      source = (lane & segment_mask) | (operand & ~segment_mask);
      in_range = source <= last_lane;
      break;
  }
  if (!in_range) source = lane;
  if (valid != nullptr) *valid = in_range;
  if ((mask >> source & 1) == 0) {
    Fail(where, "warp", "shuffle: lane %u reads lane %u, which is not in the mask %08x", lane, source, mask);
  }
  const uint32_t result = values[source];
  Leave(meeting);
  return result;
}

uint32_t Ballot(bool predicate, uint32_t mask, const void* site, Where where) {
  Meeting& meeting = Join(WarpOperation::kBallot, mask, site, where);
  auto* votes = reinterpret_cast<uint32_t*>(meeting.room);
  const uint32_t lane_bit = 1u << running->state.lane;
  if (meeting.arrived == lane_bit) *votes = 0;
  if (predicate) *votes |= lane_bit;
  Meet(meeting, where);
  const uint32_t result = *votes;
  Leave(meeting);
  return result;
}

}  // namespace cuda_emulator
