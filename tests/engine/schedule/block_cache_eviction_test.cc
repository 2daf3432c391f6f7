// What a cache gives up, in which order, and what it tells of that.
#include <chrono>
#include <optional>

#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"

namespace latentd {
namespace {

constexpr TimePoint kSoon{std::chrono::seconds(10)};
constexpr TimePoint kLater{std::chrono::seconds(20)};

TEST(BlockCache, TheLeastRecentlyUsedIsEvictedFirst) {
  BlockCache cache({.num_blocks = 4});
  for (int32_t first : {100, 200, 300}) RunWhole({cache, Tokens(64, first)});
  CachedSequence again(cache, Tokens(64, 100));
  again.Open();
  again.Release();
  RunWhole({cache, Tokens(64, 400)});
  EXPECT_EQ(cache.num_evictions(), 1u);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 100)), 64);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 200)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 300)), 64);
}

TEST(BlockCache, LeavesAreEvictedBeforeTheirParents) {
  BlockCache cache({.num_blocks = 6});
  RunWhole({cache, Tokens(300)});
  for (int left : {256, 192, 128, 64}) {
    BlockTable table;
    for (int i = 64; i <= 320 - left; i += 64) ASSERT_TRUE(cache.Extend(table));
    EXPECT_EQ(NumReusable(cache, Tokens(300)), left);
    cache.Release(table);
    RunWhole({cache, Tokens(300)});
  }
}

TEST(BlockCache, HeldBlocksAreNeverEvicted) {
  BlockCache cache({.num_blocks = 4});
  CachedSequence held(cache, Tokens(128));
  ASSERT_TRUE(held.Grow());
  held.Publish();
  BlockTable other;
  EXPECT_TRUE(cache.Extend(other));
  EXPECT_FALSE(cache.Extend(other));
  EXPECT_EQ(NumReusable(cache, Tokens(128)), 128);
}

TEST(BlockCache, WhatATailWasCopiedFromIsTheMostRecentlyUsed) {
  BlockCache cache({.num_blocks = 5});
  RunWhole({cache, Tokens(10)});
  RunWhole({cache, Tokens(64, 100)});
  CachedSequence copying(cache, Tokens(8) + Tokens(20, 1000));
  EXPECT_TRUE(copying.Open().has_value());
  BlockTable other;
  ASSERT_TRUE(cache.Extend(other) && cache.Extend(other));
  cache.Release(other);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 100)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(10)), 10);
}

TEST(BlockCache, ACopysSourceIsNotEvictedToMakeItsDestination) {
  BlockCache cache({.num_blocks = 3});
  RunWhole({cache, Tokens(64)});
  RunWhole({cache, Tokens(64) + Tokens(10, 100)});
  CachedSequence sequence(cache, Tokens(64) + Tokens(5, 100) + Tokens(5, 1000));
  const PrefixMatch match = sequence.Match();
  EXPECT_EQ(match.num_tokens, 64);
  EXPECT_FALSE(match.has_tail);
  EXPECT_EQ(match.lost_to_granularity, 5);
  EXPECT_FALSE(cache.Open(sequence.table).has_value());
  EXPECT_TRUE(sequence.Grow());
  EXPECT_EQ(cache.num_evictions(), 1u);
}

TEST(BlockCache, KeptBlocksAreEvictedLastAndTheSoonestFirst) {
  BlockCache cache({.num_blocks = 7});
  RunWhole({cache, Tokens(64, 100)}, kLater);
  RunWhole({cache, Tokens(64, 200)}, kSoon);
  RunWhole({cache, Tokens(256, 300)});
  EXPECT_EQ(cache.num_kept(), 2);
  BlockTable table;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(cache.Extend(table));
  EXPECT_EQ(NumReusable(cache, Tokens(64, 300)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 200)), 64);
  ASSERT_TRUE(cache.Extend(table));
  EXPECT_EQ(NumReusable(cache, Tokens(64, 200)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 100)), 64);
}

TEST(BlockCache, KeptBlocksAreAsOthersOnceTheirTimeIsOver) {
  BlockCache cache({.num_blocks = 4});
  RunWhole({cache, Tokens(64, 100)}, kSoon);
  RunWhole({cache, Tokens(128, 200)});
  cache.ExpireKept(kSoon - Duration(1));
  EXPECT_EQ(cache.num_kept(), 1);
  cache.ExpireKept(kSoon);
  EXPECT_EQ(cache.num_kept(), 0);
  BlockTable table;
  ASSERT_TRUE(cache.Extend(table) && cache.Extend(table));
  EXPECT_EQ(NumReusable(cache, Tokens(64, 100)), 64);
  EXPECT_EQ(NumReusable(cache, Tokens(128, 200)), 0);
}

TEST(BlockCache, AtMostHalfOfAllBlocksAreKept) {
  BlockCache cache({.num_blocks = 9});
  RunWhole({cache, Tokens(64, 100)}, kSoon);
  RunWhole({cache, Tokens(256, 200)}, kLater);
  EXPECT_EQ(cache.num_kept(), 4);
  BlockTable table;
  while (cache.num_cached() > 4) ASSERT_TRUE(cache.Extend(table));
  EXPECT_EQ(NumReusable(cache, Tokens(64, 100)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(256, 200)), 256);
}

TEST(BlockCache, BlocksThatOthersHoldAreKeptOnceTheyLetGo) {
  BlockCache cache({.num_blocks = 6});
  CachedSequence other(cache, Tokens(64));
  ASSERT_TRUE(other.Grow());
  other.Publish();
  RunWhole({cache, Tokens(128)}, kSoon);
  EXPECT_EQ(cache.num_kept(), 1);
  other.Release();
  EXPECT_EQ(cache.num_kept(), 2);
}

TEST(BlockCache, FlushFreesAllThatIsNotHeld) {
  BlockCache cache({.num_blocks = 12});
  RunWhole({cache, Tokens(150, 1000)});
  CachedSequence held(cache, Tokens(64));
  ASSERT_TRUE(held.Grow());
  held.Publish();
  EXPECT_EQ(cache.Flush(), 3);
  EXPECT_EQ(cache.num_free(), 10);
  EXPECT_EQ(NumReusable(cache, Tokens(150, 1000)), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(64)), 64);
}

TEST(BlockCache, ForgetsWhatATableHoldsAloneAndAllBeneath) {
  BlockCache cache({.num_blocks = 12});
  CachedSequence shared(cache, Tokens(64)), wrong(cache, Tokens(130));
  ASSERT_TRUE(shared.Grow());
  shared.Publish();
  wrong.Open();
  ASSERT_TRUE(wrong.Grow());
  wrong.Publish();
  RunWhole({cache, Tokens(300)});  // goes on from what was wrong
  RunWhole({cache, Tokens(64) + Tokens(64, 1000)});
  cache.Forget(wrong.table);
  wrong.Release();
  EXPECT_EQ(NumReusable(cache, Tokens(300)), 64);
  EXPECT_EQ(NumReusable(cache, Tokens(64) + Tokens(64, 1000)), 128);
  EXPECT_EQ(cache.num_cached(), 1);
}

TEST(BlockCache, TellsWhatEvictionsCost) {
  BlockCache cache({.num_blocks = 5});
  RunWhole({cache, Tokens(256)});
  BlockTable table;
  ASSERT_TRUE(cache.Extend(table) && cache.Extend(table));
  CachedSequence again(cache, Tokens(300));
  const PrefixMatch match = again.Match();
  EXPECT_EQ(match.num_tokens, 128);
  EXPECT_EQ(match.lost_to_eviction, 128);
  EXPECT_EQ(match.lost_to_salt, 0);
  EXPECT_EQ(cache.Match(again.key(), 191).lost_to_eviction, 0);
  EXPECT_EQ(cache.Match(again.key(), 192).lost_to_eviction, 64);
}

TEST(BlockCache, TellsWhatIsolationCosts) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(192), {.salt = "a"}});
  RunWhole({cache, Tokens(70), {.salt = "b"}});
  CachedSequence sequence(cache, Tokens(300), {.salt = "b"});
  const PrefixMatch match = sequence.Match();
  EXPECT_EQ(match.num_tokens, 70);
  EXPECT_EQ(match.lost_to_eviction, 0);
  EXPECT_EQ(match.lost_to_salt, 192 - 70);
}

TEST(BlockCache, ALostTokenIsCountedOnce) {
  BlockCache cache({.num_blocks = 5});
  RunWhole({cache, Tokens(128), {.salt = "a"}});
  RunWhole({cache, Tokens(256), {.salt = "b"}});
  RunWhole({cache, Tokens(192), {.salt = "c"}});  // evicts three blocks of b
  CachedSequence sequence(cache, Tokens(256), {.salt = "b"});
  const PrefixMatch match = sequence.Match();
  EXPECT_EQ(match.num_tokens + match.lost_to_eviction + match.lost_to_salt, 256);
  EXPECT_EQ(match.num_tokens, 64);
  EXPECT_EQ(match.lost_to_eviction, 192);
}

}  // namespace
}  // namespace latentd
