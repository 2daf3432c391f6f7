// Races: who touched each byte last, and whether something has ordered that before the present access.
//
// A thread's accesses between two synchronisations share one AccessId, its segment. A block counts its
// synchronisations; every segment carries the count at its start. Lane l knows the other lanes of its warp, and warp w
// the other warps, up to a count: what they did in segments of lower counts is ordered before. Barriers of the whole
// block order everything: ids below first_id_ are settled, and their records forgotten. Blocks are ordered only by
// fences with atomics.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tests/cuda_emulator/runtime/access_ids.h"
#include "tests/cuda_emulator/runtime/block.h"
#include "tests/cuda_emulator/runtime/region.h"

namespace cuda_emulator {

enum class AccessKind : uint8_t { kPlain, kAtomic };

class BlockHistory {
 public:
  static void BeginLaunch();  // forgets what blocks have published

  void BeginBlock(Block& block);
  void EndBlock();
  void SynchroniseBlock();
  void SynchroniseWarps(uint32_t warps);
  void SynchroniseLanes(uint32_t warp, uint32_t lanes);
  // Events of the running thread. An atomic load sees the accesses that other blocks published there; an atomic store
  // publishes the accesses before the last fence.
  void Fence();
  void See(const void* address);
  void Publish(const void* address);

  // `bytes` of a region at an offset, touched by the running thread. A race ends the run.
  void Read(Region& region, uint64_t offset, uint32_t bytes, AccessKind kind, Where where);
  void Write(Region& region, uint64_t offset, uint32_t bytes, AccessKind kind, Where where);

 private:
  using ThreadBitmap = std::array<uint64_t, kMaxBlockThreads / 64>;

  struct Access {
    Region& region;
    uint64_t offset;
    uint32_t bytes;
    AccessKind kind;
    Where where;
    AccessId own;
  };
  struct CachedSet {
    uint64_t key;  // old and own id
    AccessId set;
  };

  AccessId OwnId(AccessKind kind);
  AccessId NewId();
  void TakeChunk();
  void EndSegments(uint32_t warp, uint32_t lanes);
  AccessId SettledBelow(const Region& region) const;

  bool IsOtherBlocks(const Region& region, AccessId id) const;
  bool IsOrderedSegment(AccessId id, AccessKind kind) const;
  // 0 if all of the id is ordered before the running thread, else the segment, or the other block's id, that is not.
  AccessId FirstUnordered(AccessId id, AccessKind kind) const;
  AccessId FirstConflict(const Region& region, AccessId id, AccessKind kind) const;
  void CheckPlane(const Access& access, const AccessId* plane, const char* what, bool plane_is_of_writes) const;
  template <uint32_t kBytes>
  void ReadSpan(const Access& access);
  template <uint32_t kBytes>
  void WriteSpan(const Access& access);
  AccessId WithReader(const Region& region, AccessId readers, AccessId own);
  void NoteReaders(const Access& access);
  void NoteWriters(const Access& access);

  // The id of a set with everything in `old` that matters, and `own`.
  AccessId Add(AccessId old, AccessId own);
  AccessId MakeSet(AccessId old, AccessId own);
  AccessId Chain(AccessId set, AccessId segment);
  bool IsCoveredBy(AccessId segment, AccessId own) const;
  ThreadBitmap BitmapOf(AccessId id) const;
  [[noreturn]] void ReportRace(const Access& access, const char* what, AccessId earlier, bool earlier_wrote) const;

  Block* block_ = nullptr;
  uint32_t clock_ = 0;
  AccessId first_id_ = 0;  // of the stretch since the block's last barrier
  AccessId next_id_ = 0;
  std::vector<uint32_t> chunks_;                                // of ids of this stretch
  uint32_t known_lanes_[kMaxWarps][kWarpSize][kWarpSize] = {};  // [warp][knowing][known]
  uint32_t known_warps_[kMaxWarps][kMaxWarps] = {};             // [knowing][known]
  std::vector<ThreadBitmap> bitmaps_;
  std::vector<CachedSet> cached_sets_;  // by a hash of the key; of ids since the last restart
  uint32_t num_restarts_ = 0;
  std::vector<AccessId> warp_ids_[kMaxWarps];  // of this stretch
  bool fenced_ = false;                        // some thread, since the last barrier
  AccessId fenced_below_ = 0;                  // ids that barriers and fences have made visible to other blocks
  PublishedByBlock seen_;                      // of other blocks
};

}  // namespace cuda_emulator
