// A running block: its threads, warps and barriers, and the executor that switches between them.
// Inside the runtime only. One OS thread, so the globals below need no lock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/cuda_emulator/runtime/async_copy.h"
#include "tests/cuda_emulator/runtime/fiber.h"
#include "tests/cuda_emulator/runtime/schedule.h"
#include "tests/cuda_emulator/runtime/shared_memory.h"

namespace cuda_emulator {

inline constexpr uint32_t kNumBarriers = 16;
inline constexpr uint32_t kMaxBlockThreads = kMaxWarps * kWarpSize;

struct Block;
struct Meeting;
class BlockHistory;

enum class WaitKind : uint8_t { kNothing, kBarrier, kWarp };

// What a thread that isn't ready waits for; stale while it is.
struct Wait {
  WaitKind kind = WaitKind::kNothing;
  uint32_t barrier = 0;
  uint32_t mask = 0;
  Where where = {"", 0};
};

struct Thread {
  ThreadState state = {};
  Block* block = nullptr;
  uint32_t index = 0;
  FiberStack stack = {};
  void* stack_pointer = nullptr;
  Wait wait;
  AsyncQueue copies;
  uint32_t segment = 0;     // of the race history: its stretch between two synchronisations, 0: not begun
  bool fenced = false;      // since the last barrier of the block
  uint64_t num_yields = 0;  // since anything else ran
};

struct Warp {
  uint32_t existing = 0;  // lanes
  uint32_t ready = 0;
  uint32_t exited = 0;
  uint32_t num_open = 0;
  Meeting* open[kWarpSize] = {};  // rendezvous that lanes wait in
};

struct Barrier {
  uint32_t arrived = 0;
  uint32_t needed = 0;
  const void* site = nullptr;
  Where where = {"", 0};
  uint32_t waiting[kMaxWarps] = {};  // lanes
};

struct Block {
  Dim3 index;
  uint64_t number = 0;  // in the grid
  bool active = false;
  uint32_t num_threads = 0;
  uint32_t num_warps = 0;
  uint32_t num_exited = 0;
  uint32_t ready_warps = 0;
  Warp warps[kMaxWarps];
  Barrier barriers[kNumBarriers];
  std::vector<std::unique_ptr<Thread>> threads;  // may be more than num_threads
  SharedArena shared;
  std::unique_ptr<BlockHistory> history;  // of shadow kernels
};

extern Thread* running;               // null: no kernel's code runs
extern const Kernel* running_kernel;  // null: none

inline Warp& RunningWarp() { return running->block->warps[running->state.warp]; }

// Makes lanes of a warp ready.
inline void Wake(Block& block, uint32_t warp, uint32_t lanes) {
  block.warps[warp].ready |= lanes;
  block.ready_warps |= lanes != 0 ? 1u << warp : 0;
}
// Runs others until someone wakes the running thread. It says before what it waits for.
void WaitToBeWoken();
// The running thread has just woken others: lets the schedule decide whether they run first.
void OfferTurn();

// What only a thread's end can reveal: others wait for it in vain.
void CheckBarriersAtExit(const Thread& thread);
void CheckMeetingsAtExit(const Thread& thread);

[[noreturn]] void ReportDeadlock(const Block& block);

}  // namespace cuda_emulator
