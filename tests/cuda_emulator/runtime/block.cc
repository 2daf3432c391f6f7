#include "tests/cuda_emulator/runtime/block.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/history.h"
#include "tests/cuda_emulator/runtime/shadow.h"

namespace cuda_emulator {

ThreadState* current_thread = nullptr;
Dim3 ctaid, ntid, nctaid;
Thread* running = nullptr;
const Kernel* running_kernel = nullptr;

namespace {

constexpr uint32_t kBurst = 64;           // random-warp leaves a warp about every 64th switch
constexpr uint32_t kBlockBurst = 32;      // and random-block-mix a block every 32nd
constexpr uint64_t kMaxYields = 1 << 22;  // of one thread, while no other can run

struct Grid {
  const std::byte* parameters = nullptr;
  uint32_t dynamic_shared_bytes = 0;
  std::vector<uint64_t> order;  // of the blocks
  uint64_t num_started = 0;
  uint32_t num_active = 0;
};

Grid grid;
Block slots[kNumArenas];
Block* current_block = nullptr;  // the schedule stays with it while it can
uint32_t burst_warp = 0, burst_lane = 0;
void* main_stack_pointer = nullptr;

void Enter(Thread* thread) {
  running = thread;
  current_thread = &thread->state;
  if (thread->block != current_block) current_block = thread->block;
  ctaid = current_block->index;
}

Block* BlockWithReadyThread() {
  const bool mixes = CurrentSchedule().kind == ScheduleKind::kRandomBlockMix;
  const bool stays = !mixes || Random() % kBlockBurst != 0;
  if (stays && current_block != nullptr && current_block->ready_warps != 0) return current_block;
  const uint32_t start = mixes ? Random() : 0;
  for (uint32_t i = 0; i < kNumArenas; ++i) {
    Block& block = slots[(start + i) % kNumArenas];
    if (block.active && block.ready_warps != 0) return &block;
  }
  return nullptr;
}

struct Place {
  uint32_t warp, lane;
};

Place RandomWarpPlace(const Block& block) {
  const bool can_stay = (block.ready_warps >> burst_warp & 1) != 0;
  if (!can_stay || Random() % kBurst == 0) {
    burst_warp = FirstBitFrom(block.ready_warps, Random());
    burst_lane = Random();
  }
  return {burst_warp, FirstBitFrom(block.warps[burst_warp].ready, burst_lane)};
}

Place NextPlace(const Block& block) {
  switch (CurrentSchedule().kind) {
    case ScheduleKind::kInOrder: {
      const uint32_t warp = LowestBit(block.ready_warps);
      return {warp, LowestBit(block.warps[warp].ready)};
    }
    case ScheduleKind::kReverse: {
      const uint32_t warp = HighestBit(block.ready_warps);
      return {warp, HighestBit(block.warps[warp].ready)};
    }
    case ScheduleKind::kRandomThread: {
      const uint32_t warp = FirstBitFrom(block.ready_warps, Random());
      return {warp, FirstBitFrom(block.warps[warp].ready, Random())};
    }
    case ScheduleKind::kRandomWarp:
    case ScheduleKind::kRandomBlockMix:
      return RandomWarpPlace(block);
  }
  std::abort();
}

Thread* Take(Block& block, Place place) {
  Warp& warp = block.warps[place.warp];
  warp.ready &= ~(1u << place.lane);
  if (warp.ready == 0) block.ready_warps &= ~(1u << place.warp);
  return block.threads[place.warp * kWarpSize + place.lane].get();
}

Thread* TakeReadyThread() {
  Block* block = BlockWithReadyThread();
  return block == nullptr ? nullptr : Take(*block, NextPlace(*block));
}

// For one that spins: the others in turn, whatever the schedule, or the awaited one might never come up.
Thread* TakeReadyThreadAfter(const Thread& thread) {
  Block* block = BlockWithReadyThread();
  if (block == nullptr) return nullptr;
  if (block != thread.block || IsRandom(CurrentSchedule().kind)) return Take(*block, NextPlace(*block));
  const uint32_t lanes_after = block->warps[thread.state.warp].ready & -(2u << thread.state.lane);
  if (lanes_after != 0) return Take(*block, {thread.state.warp, LowestBit(lanes_after)});
  const uint32_t warp = FirstBitFrom(block->ready_warps, thread.state.warp + 1);
  return Take(*block, {warp, LowestBit(block->warps[warp].ready)});
}

void SwitchTo(Thread* next, void** save) {
  Enter(next);
  CudaEmulatorSwitchStack(save, next->stack_pointer);
}

void FinishThread() {
  Thread& thread = *running;
  Block& block = *thread.block;
  CheckCopiesAtExit(thread);
  CheckBarriersAtExit(thread);
  CheckMeetingsAtExit(thread);
  RunningWarp().exited |= 1u << thread.state.lane;
  if (++block.num_exited < block.num_threads) {
    WaitToBeWoken();
    return;
  }
  if (running_kernel->shadow) block.history->EndBlock();
  block.active = false;
  --grid.num_active;
  running = nullptr;
  CudaEmulatorSwitchStack(&thread.stack_pointer, main_stack_pointer);
}

// Every fiber's life: a kernel's thread, and then, in a later block, another.
void RunFiber() {
  for (;;) {
    running_kernel->run(grid.parameters);
    FinishThread();
  }
}

void ResetThread(Block& block, uint32_t index) {
  if (index == block.threads.size()) {
    auto thread = std::make_unique<Thread>();
    thread->stack = MakeFiberStack(index, RunFiber);
    thread->stack_pointer = thread->stack.pointer;
    block.threads.push_back(std::move(thread));
  }
  Thread& thread = *block.threads[index];
  thread.block = &block;
  thread.index = index;
  thread.state.tid = {index % ntid.x, index / ntid.x % ntid.y, index / (ntid.x * ntid.y)};
  thread.state.lane = index % kWarpSize;
  thread.state.warp = index / kWarpSize;
  thread.copies.Clear();
  thread.segment = 0;
  thread.fenced = false;
  thread.num_yields = 0;
}

void StartBlock(Block& block, uint64_t number) {
  block.number = number;
  block.index = {static_cast<uint32_t>(number % nctaid.x), static_cast<uint32_t>(number / nctaid.x % nctaid.y),
                 static_cast<uint32_t>(number / (uint64_t{nctaid.x} * nctaid.y))};
  block.active = true;
  block.num_threads = ntid.x * ntid.y * ntid.z;
  block.num_warps = (block.num_threads + kWarpSize - 1) / kWarpSize;
  block.num_exited = 0;
  block.ready_warps = 0;
  for (uint32_t i = 0; i < block.num_threads; ++i) ResetThread(block, i);
  for (uint32_t w = 0; w < block.num_warps; ++w) {
    const uint32_t lanes = std::min(block.num_threads - w * kWarpSize, kWarpSize);
    block.warps[w] = Warp();
    block.warps[w].existing = lanes == kWarpSize ? ~0u : (1u << lanes) - 1;
    Wake(block, w, block.warps[w].existing);
  }
  for (Barrier& barrier : block.barriers) barrier = Barrier();
  block.shared.Prepare(running_kernel->static_shared_bytes, grid.dynamic_shared_bytes, running_kernel->shadow);
  if (running_kernel->shadow) {
    if (block.history == nullptr) block.history = std::make_unique<BlockHistory>();
    block.history->BeginBlock(block);
  }
  ++grid.num_active;
}

void FillSlots() {
  const uint32_t num_resident = CurrentSchedule().kind == ScheduleKind::kRandomBlockMix ? kNumArenas : 1;
  for (uint32_t i = 0; i < num_resident && grid.num_started < grid.order.size(); ++i) {
    if (!slots[i].active) {
      slots[i].shared.Reserve(i);
      StartBlock(slots[i], grid.order[grid.num_started++]);
    }
  }
}

void OrderBlocks(uint64_t num_blocks) {
  grid.order.resize(num_blocks);
  for (uint64_t i = 0; i < num_blocks; ++i) grid.order[i] = i;
  const ScheduleKind kind = CurrentSchedule().kind;
  if (kind == ScheduleKind::kReverse) std::reverse(grid.order.begin(), grid.order.end());
  if (!IsRandom(kind)) return;
  for (uint64_t i = num_blocks; i > 1; --i) std::swap(grid.order[i - 1], grid.order[Random() % i]);
}

std::string Describe(const Thread& thread, const Warp& warp) {
  if ((warp.exited >> thread.state.lane & 1) != 0) return "have exited";
  const Wait& wait = thread.wait;
  const std::string line = std::string(wait.where.file) + ":" + std::to_string(wait.where.line);
  if (wait.kind == WaitKind::kBarrier) return "wait at barrier " + std::to_string(wait.barrier) + " (" + line + ")";
  char mask[16];
  std::snprintf(mask, sizeof mask, "%08x", wait.mask);
  return "wait for the lanes " + std::string(mask) + " of their warp (" + line + ")";
}

}  // namespace

void WaitToBeWoken() {
  Thread* me = running;
  Thread* next = TakeReadyThread();
  if (next == nullptr) ReportDeadlock(*me->block);
  if (next != me) SwitchTo(next, &me->stack_pointer);
}

void OfferTurn() {
  if (!IsRandom(CurrentSchedule().kind)) return;
  Wake(*running->block, running->state.warp, 1u << running->state.lane);
  WaitToBeWoken();
}

void Yield() {
  Thread* me = running;
  Thread* next = TakeReadyThreadAfter(*me);
  if (next == nullptr) {
    if (++me->num_yields > kMaxYields) Fail(CUDA_EMULATOR_HERE, "deadlock", "the last thread that can run spins");
    return;
  }
  me->num_yields = 0;
  Wake(*me->block, me->state.warp, 1u << me->state.lane);
  SwitchTo(next, &me->stack_pointer);
}

void ReportDeadlock(const Block& block) {
  std::map<std::string, int> counts;
  for (uint32_t i = 0; i < block.num_threads; ++i) {
    const Thread& thread = *block.threads[i];
    ++counts[Describe(thread, block.warps[thread.state.warp])];
  }
  std::string text;
  for (const auto& [what, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " threads " + what;
  }
  Fail(running->wait.where, "deadlock", "no thread can go on: %s", text.c_str());
}

void RunGrid(const Kernel& kernel, Dim3 grid_dim, Dim3 block_dim, uint32_t dynamic_shared_bytes,
             const std::byte* parameters) {
  CatchFaults();
  running_kernel = &kernel;
  nctaid = grid_dim;
  ntid = block_dim;
  grid.parameters = parameters;
  grid.dynamic_shared_bytes = dynamic_shared_bytes;
  grid.num_started = 0;
  OrderBlocks(uint64_t{grid_dim.x} * grid_dim.y * grid_dim.z);
  BeginLaunch(kernel, parameters);
  for (FillSlots(); grid.num_active > 0; FillSlots()) {
    SwitchTo(TakeReadyThread(), &main_stack_pointer);
  }
  EndLaunch(kernel);
  running_kernel = nullptr;
  current_thread = nullptr;
}

}  // namespace cuda_emulator
