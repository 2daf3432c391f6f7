// The full blocks evicted last, as many as there are blocks, so that a miss can be told from a loss.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/schedule/hash_table.h"

namespace latentd {

class EvictedHashes {
 public:
  explicit EvictedHashes(size_t most) : counts_(most), most_(most) { ring_.reserve(most); }

  bool Has(const BlockHash& hash) const { return counts_.Has(hash); }
  void Add(const BlockHash& hash) {
    if (ring_.size() < most_) {
      ring_.push_back(hash);
    } else {
      counts_.Remove(ring_[next_]);
      ring_[next_] = hash;
      next_ = (next_ + 1) % most_;
    }
    counts_.Add(hash);
  }

 private:
  HashCounts counts_;
  std::vector<BlockHash> ring_;  // once it is full, the oldest one at next_
  size_t most_;
  size_t next_ = 0;
};

}  // namespace latentd
