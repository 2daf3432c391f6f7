// Where the ids of accesses come from and what they stand for: one space for all blocks of a launch and of later ones.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/cuda_emulator/runtime/device_api.h"
#include "tests/cuda_emulator/runtime/region.h"

namespace cuda_emulator {

inline constexpr AccessId kAtomicBit = 1;  // of an id: atomics don't race with each other
inline bool IsAtomic(AccessId id) { return (id & kAtomicBit) != 0; }

// Ids come in chunks, each of one block. An id without and with the atomic bit share a record.
inline constexpr uint32_t kChunkBits = 10;
inline constexpr uint32_t kChunkIds = 1 << kChunkBits;

// Forgotten at the next barrier of its block.
struct AccessRecord {
  uint32_t clock;   // of segments: synchronisations of the block before it
  uint16_t thread;  // of segments
  bool is_set;
  uint32_t bitmap;              // of sets: which threads have segments in it
  AccessId members[2];          // of sets: a set or segment, and a segment
  Where last_read, last_write;  // of segments
};

class AccessIds {
 public:
  static AccessIds& Get() { return instance_; }

  // With more chunks gone than this, ids start anew and all history is forgotten: launches don't race with each other.
  static constexpr uint32_t kMaxChunksBeforeLaunch = 1 << 21;
  void BeginLaunch(uint32_t max_chunks = kMaxChunksBeforeLaunch);
  uint32_t TakeChunk(uint64_t block);
  void ForgetChunk(uint32_t chunk);

  uint32_t num_restarts() const { return num_restarts_; }
  AccessId first_of_launch() const { return first_of_launch_; }
  uint64_t BlockOf(AccessId id) const { return chunks_[id >> kChunkBits].block; }
  AccessRecord& RecordOf(AccessId id) const { return chunks_[id >> kChunkBits].records[(id & (kChunkIds - 1)) >> 1]; }

 private:
  struct Chunk {
    uint64_t block;
    AccessRecord* records;  // null: forgotten
  };

  static AccessIds instance_;
  uint32_t num_restarts_ = 1;
  AccessId first_of_launch_ = kChunkIds;
  std::vector<Chunk> chunks_ = std::vector<Chunk>(1);  // id 0 is no access
  std::vector<AccessRecord*> free_records_;
};

// What one block has made visible to others by a fence and an atomic: ids below `below`, and `also`.
struct Published {
  AccessId below = 0;
  std::vector<AccessId> also;  // ascending

  bool Includes(AccessId id) const;
  void Merge(const Published& other);
};
using PublishedByBlock = std::unordered_map<uint64_t, Published>;

}  // namespace cuda_emulator
