// Tells the flight recorder of the block that a table got last, where another sequence's cached one was evicted for it.
// Made before the block is taken; part of the Scheduler.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "engine/schedule/block_cache.h"
#include "engine/schedule/flight_recorder.h"

namespace latentd {

class EvictionWatch {
 public:
  EvictionWatch(const BlockCache& cache, FlightRecorder& recorder)
      : cache_(cache), recorder_(recorder), num_before_(cache.num_evictions()) {}

  void Record(const BlockTable& taker) const {
    if (cache_.num_evictions() == num_before_) return;
    recorder_.Record(FlightDecision::kEvict, {}, {taker.blocks().back()});
  }

 private:
  const BlockCache& cache_;
  FlightRecorder& recorder_;
  const uint64_t num_before_;
};

// One more block for the table, which must be available.
inline void TakeBlock(BlockCache& cache, BlockTable& table, FlightRecorder& recorder) {
  const EvictionWatch evictions(cache, recorder);
  CHECK(cache.Extend(table) && "rows are cut to what their blocks have room for");
  evictions.Record(table);
}

}  // namespace latentd
