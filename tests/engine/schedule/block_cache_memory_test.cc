// Once a cache was full, blocks come and go without the heap.
#include <chrono>
#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"
#include "tests/support/allocation_count.h"

namespace latentd {
namespace {

constexpr int kSequences = 200;
constexpr int kTokens = 300;
constexpr int kCommon = 100;  // of each sequence and the one before it

// Two of three share a salt, the third one owns its blocks.
CachedSequence::Name NameOf(int i) {
  return i % 3 < 2 ? CachedSequence::Name{.salt = "a salt that a string does not hold in itself"}
                   : CachedSequence::Name{.own = "owner of the blocks of sequence " + std::to_string(1000 + i)};
}

TEST(BlockCache, TakesNothingFromTheHeapWhileBlocksComeAndGo) {
  KvEvents events(50);
  BlockCache cache({.num_blocks = 40, .events = &events});
  std::deque<CachedSequence> sequences;
  for (int i = 0; i < kSequences; ++i) {
    sequences.emplace_back(cache, Tokens(kCommon, i / 2) + Tokens(kTokens - kCommon, 1000 * i), NameOf(i));
    sequences.back().table.ReserveMemory(BlocksFor(kTokens));
  }
  const auto run = [&](CachedSequence& sequence, int i) {
    sequence.Open();
    while (sequence.table.num_blocks() < BlocksFor(kTokens)) {
      EXPECT_TRUE(cache.Extend(sequence.table));
      for (int last = 0; last < 3; ++last) {
        cache.Publish(sequence.table, sequence.key(),
                      sequence.table.num_blocks() * kBlockSlots - kBlockSlots + 1 + last, TailRule::kWithTail);
      }
    }
    sequence.Release(i % 4 == 0 ? TimePoint(std::chrono::seconds(i)) : kNotKept);
    cache.ExpireKept(TimePoint(std::chrono::seconds(i - 20)));
    if (i % 10 == 0) cache.DropPrivate(sequence.key().own);
  };
  for (int i = 0; i < kSequences / 2; ++i) run(sequences[static_cast<size_t>(i)], i);
  const uint64_t num_evictions = cache.num_evictions();
  const AllocationCount count;
  for (int i = kSequences / 2; i < kSequences; ++i) run(sequences[static_cast<size_t>(i)], i);
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_GT(cache.num_evictions(), num_evictions + 100);
}

}  // namespace
}  // namespace latentd
