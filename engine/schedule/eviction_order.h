// Which cached block goes first: the least recently used one, and kept ones after all that are not, the one kept
// shortest first. A block comes before the one whose tokens precede its own (blocks of a sequence are added last one
// first, and kept no longer than those before them), so the next one is a leaf. Part of BlockCache; engine thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/block_id.h"
#include "engine/schedule/recycled_set.h"

namespace latentd {

inline constexpr TimePoint kNotKept = TimePoint::min();

class EvictionOrder {
 public:
  explicit EvictionOrder(int num_blocks);

  // At least until then; once it was Forgotten, no more. Not while it is in the order.
  void Keep(BlockId block, TimePoint until);
  void Forget(BlockId block) { keep_until_[Index(block)] = kNotKept; }

  // The most recently used one from now on.
  void Add(BlockId block);
  void Remove(BlockId block);
  void ExpireKept(TimePoint now);

  // kNoBlock where there is none.
  BlockId Next() const;
  int size() const { return size_; }
  int num_kept() const { return static_cast<int>(kept_.all().size()); }
  // Runs `visit(BlockId)` for each, the next one first.
  template <class Visit>
  void ForEach(const Visit& visit) const {
    for (BlockId block = links_[kEnds].next; block != kEnds; block = links_[Index(block)].next) visit(block);
    for (const Kept& kept : kept_.all()) visit(kept.block);
  }

 private:
  static constexpr BlockId kEnds = kScratchBlock;  // never in the order: its links lead to the first and to the last
  struct Links {
    BlockId before = kEnds;
    BlockId next = kEnds;
  };
  struct Kept {
    TimePoint until{};
    uint64_t turn = 0;
    BlockId block = kNoBlock;
  };
  struct Sooner {
    bool operator()(const Kept& a, const Kept& b) const {
      return a.until != b.until ? a.until < b.until : a.turn < b.turn;
    }
  };

  static size_t Index(BlockId block) { return static_cast<size_t>(block); }
  void Link(BlockId block);
  void StopKeepingFirst();

  std::vector<Links> links_;           // [blocks] those not kept
  std::vector<TimePoint> keep_until_;  // [blocks]
  std::vector<uint64_t> turns_;        // [blocks] when it was added
  RecycledSet<Kept, Sooner> kept_;     // at most half of all blocks, and one while it is added
  int size_ = 0;
  uint64_t num_turns_ = 0;
};

}  // namespace latentd
