// bar.sync: whole-block and named barriers.
#include <cstring>

#include "tests/cuda_emulator/runtime/block.h"
#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/history.h"

namespace cuda_emulator {
namespace {

// Generated code without sites: the line is the identity. Two sites of one line are one.
const void* SiteOfLine(Where where) {
  return reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(where.file) * 65536 +  // NOLINT
                                       static_cast<uintptr_t>(where.line));
}

void CheckArrival(const Block& block, uint32_t id, uint32_t num_threads, Where where) {
  if (id >= kNumBarriers) Fail(where, "barrier", "barrier %u: there are %u", id, kNumBarriers);
  if (num_threads > block.num_threads) {
    Fail(where, "barrier", "barrier %u waits for %u threads, the block has %u", id, num_threads, block.num_threads);
  }
  if (num_threads % kWarpSize != 0 && num_threads != block.num_threads) {
    Fail(where, "barrier", "barrier %u waits for %u threads, which is no multiple of %u", id, num_threads, kWarpSize);
  }
  if (num_threads == block.num_threads && block.num_exited > 0) {
    Fail(where, "barrier", "barrier %u of the whole block after %u of its threads have exited", id, block.num_exited);
  }
}

void CheckSameBarrier(const Barrier& barrier, uint32_t id, uint32_t num_threads, const void* site, Where where) {
  if (barrier.site != site) {
    Fail(where, "barrier", "threads of one block meet in barrier %u at different places: %u wait at %s:%d", id,
         barrier.arrived, barrier.where.file, barrier.where.line);
  }
  if (barrier.needed != num_threads) {
    Fail(where, "barrier", "barrier %u waits for %u threads here and for %u at %s:%d", id, num_threads, barrier.needed,
         barrier.where.file, barrier.where.line);
  }
}

void Release(Block& block, Barrier& barrier) {
  if (running_kernel->shadow) {
    if (barrier.needed == block.num_threads) {
      block.history->SynchroniseBlock();
    } else {
      uint32_t warps = 1u << running->state.warp;
      for (uint32_t w = 0; w < block.num_warps; ++w) warps |= barrier.waiting[w] != 0 ? 1u << w : 0;
      block.history->SynchroniseWarps(warps);
    }
  }
  for (uint32_t w = 0; w < block.num_warps; ++w) {
    Wake(block, w, barrier.waiting[w]);
    barrier.waiting[w] = 0;
  }
  barrier.arrived = 0;
}

}  // namespace

void BarrierSync(uint32_t id, uint32_t num_threads, Where where) {
  BarrierSyncAt(id, num_threads, SiteOfLine(where), where);
}

void BarrierSyncAt(uint32_t id, uint32_t num_threads, const void* site, Where where) {
  Block& block = *running->block;
  if (num_threads == 0) num_threads = block.num_threads;
  CheckArrival(block, id, num_threads, where);
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) {
    barrier.needed = num_threads;
    barrier.site = site;
    barrier.where = where;
  } else {
    CheckSameBarrier(barrier, id, num_threads, site, where);
  }
  if (++barrier.arrived == barrier.needed) {
    Release(block, barrier);
    OfferTurn();
    return;
  }
  barrier.waiting[running->state.warp] |= 1u << running->state.lane;
  running->wait = {.kind = WaitKind::kBarrier, .barrier = id, .mask = 0, .where = where};
  WaitToBeWoken();
}

void CheckBarriersAtExit(const Thread& thread) {
  for (uint32_t id = 0; id < kNumBarriers; ++id) {
    const Barrier& barrier = thread.block->barriers[id];
    if (barrier.arrived > 0 && barrier.needed == thread.block->num_threads) {
      Fail(barrier.where, "barrier", "a thread exits while %u others wait for it at barrier %u", barrier.arrived, id);
    }
  }
}

}  // namespace cuda_emulator
