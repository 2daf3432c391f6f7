#include "engine/schedule/block_cache.h"

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::vector<int32_t> First(const std::vector<int32_t>& tokens, int count) {
  return {tokens.begin(), tokens.begin() + count};
}

TEST(BlockCache, HandsOutAscendingIdsAndNeverTheScratchBlock) {
  BlockCache cache({.num_blocks = 4});
  BlockTable table;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cache.Extend(table));
  EXPECT_THAT(table.blocks(), ElementsAre(1, 2, 3));
  EXPECT_FALSE(cache.Extend(table));
  EXPECT_EQ(cache.num_held(), 3);
  EXPECT_EQ(cache.num_free(), 0);
}

TEST(BlockCache, SeedPermutesTheOrder) {
  const auto order = [](uint64_t seed) {
    BlockCache cache({.num_blocks = 65, .shuffle_seed = seed});
    BlockTable table;
    while (cache.Extend(table)) {
    }
    return std::vector<BlockId>(table.blocks().begin(), table.blocks().end());
  };
  EXPECT_THAT(order(1), ElementsAreArray(order(1)));
  EXPECT_NE(order(1), order(2));
  EXPECT_NE(order(1), order(0));
  const std::vector<BlockId> shuffled = order(1);
  EXPECT_EQ(std::set<BlockId>(shuffled.begin(), shuffled.end()).size(), 64u);
}

TEST(BlockCache, MovedTableReturnsItsBlocksOnce) {
  BlockCache cache({.num_blocks = 4});
  BlockTable first;
  ASSERT_TRUE(cache.Extend(first) && cache.Extend(first));
  BlockTable second = std::move(first);
  cache.Release(first);
  EXPECT_EQ(cache.num_held(), 2);
  BlockTable third;
  ASSERT_TRUE(cache.Extend(third));
  third = std::move(second);  // gives back what it held
  EXPECT_EQ(cache.num_held(), 2);
  EXPECT_THAT(third.blocks(), ElementsAre(1, 2));
}

TEST(BlockCache, UnpublishedBlocksAreFreeOnceReleased) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence sequence(cache, Tokens(200));
  ASSERT_TRUE(sequence.Grow());
  sequence.Release();
  EXPECT_EQ(cache.num_free(), 7);
  EXPECT_EQ(NumReusable(cache, Tokens(200)), 0);
}

TEST(BlockCache, OnlyCommittedTokensAreFound) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence sequence(cache, Tokens(200));
  ASSERT_TRUE(sequence.Grow());
  cache.Publish(sequence.table, sequence.key(), 140, TailRule::kFullBlocks);
  EXPECT_EQ(NumReusable(cache, Tokens(200)), 128);
  cache.Publish(sequence.table, sequence.key(), 140, TailRule::kWithTail);
  EXPECT_EQ(NumReusable(cache, Tokens(200)), 140);
}

TEST(BlockCache, ReuseIsExactToTheToken) {
  BlockCache cache({.num_blocks = 8});
  const std::vector<int32_t> stored = Tokens(200);
  RunWhole({cache, stored});
  for (int common = 0; common <= 200; ++common) {
    EXPECT_EQ(NumReusable(cache, First(stored, common) + Tokens(100, 1000)), common);
    EXPECT_EQ(cache.Match({.salt = "", .tokens = stored}, common).num_tokens, common);
  }
}

TEST(BlockCache, AMatchIsHeldByBothAndItsTailIsCopied) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence first(cache, Tokens(140)), second(cache, Tokens(135) + Tokens(50, 1000));
  ASSERT_TRUE(first.Grow());
  first.Publish();
  const PrefixMatch match = second.Match();
  EXPECT_EQ(match.num_tokens, 135);
  EXPECT_EQ(match.num_blocks, 2);
  EXPECT_TRUE(match.has_tail);
  EXPECT_EQ(match.num_cached_blocks, 0);
  const std::optional<BlockCopy> copy = cache.Open(second.table);
  ASSERT_TRUE(copy.has_value());
  EXPECT_EQ(copy->from, first.table.blocks()[2]);
  EXPECT_EQ(copy->to, second.table.blocks()[2]);
  EXPECT_EQ(copy->num_slots, 7);
  EXPECT_THAT(second.table.blocks().first(2), ElementsAreArray(first.table.blocks().first(2)));
  EXPECT_EQ(cache.num_references(1), 2);
  first.Release();
  EXPECT_EQ(cache.num_references(1), 1);
  EXPECT_EQ(cache.num_held(), 3);
  EXPECT_EQ(cache.num_cached(), 1);  // the tail it was copied from
}

TEST(BlockCache, AMatchTellsHowManyBlocksItMakesUnavailable) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(192)});
  CachedSequence sequence(cache, Tokens(128));
  EXPECT_EQ(sequence.Match().num_cached_blocks, 2);
  EXPECT_EQ(cache.num_available(), 7);
  cache.Open(sequence.table);
  EXPECT_EQ(cache.num_available(), 5);
}

TEST(BlockCache, ATailIsWrittenOnAndPublishedAgainWhileHeld) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence sequence(cache, Tokens(10));
  for (int count : {10, 11, 63, 64, 70}) {
    sequence.tokens = Tokens(count);
    ASSERT_TRUE(sequence.Grow());
    sequence.Publish();
    EXPECT_EQ(NumReusable(cache, Tokens(200)), count);
  }
  EXPECT_EQ(sequence.table.num_published(), 1);
}

TEST(BlockCache, ABlockIsExchangedForItsTwin) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence first(cache, Tokens(128)), second(cache, Tokens(128));
  ASSERT_TRUE(first.Grow() && second.Grow());
  second.Publish(TailRule::kFullBlocks);
  EXPECT_EQ(cache.num_held(), 4);
  first.Publish();
  EXPECT_THAT(first.table.blocks(), ElementsAreArray(second.table.blocks()));
  EXPECT_EQ(cache.num_held(), 2);
  EXPECT_EQ(cache.num_free(), 5);
}

TEST(BlockCache, ATailBecomesFreeWhenItsBlockIsExchanged) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence first(cache, Tokens(30)), second(cache, Tokens(64));
  ASSERT_TRUE(first.Grow() && second.Grow());
  first.Publish();
  second.Publish();
  first.tokens = Tokens(64);
  first.Publish();
  EXPECT_THAT(first.table.blocks(), ElementsAreArray(second.table.blocks()));
  EXPECT_EQ(cache.num_free(), 6);
}

TEST(BlockCache, ATailThatAnotherOneCoversIsNotKept) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(10)});
  RunWhole({cache, Tokens(5) + Tokens(20, 1000)});  // parts from it, so that both stay
  EXPECT_EQ(cache.num_cached(), 2);
  RunWhole({cache, Tokens(20)});  // covers the first one
  EXPECT_EQ(cache.num_cached(), 2);
  RunWhole({cache, Tokens(15)});  // is covered
  EXPECT_EQ(cache.num_cached(), 2);
  EXPECT_EQ(NumReusable(cache, Tokens(30)), 20);
}

TEST(BlockCache, AHeldTailThatAnotherOneCoversIsFreeOnceReleased) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence held(cache, Tokens(10));
  ASSERT_TRUE(held.Grow());
  held.Publish();
  RunWhole({cache, Tokens(20)});
  EXPECT_EQ(cache.num_held(), 1);
  held.Release();
  EXPECT_EQ(cache.num_cached(), 1);
  EXPECT_EQ(cache.num_free(), 6);
}

TEST(BlockCache, SaltsDoNotShare) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(100), {.salt = "a"}});
  EXPECT_EQ(NumReusable(cache, Tokens(100), {.salt = "a"}), 100);
  EXPECT_EQ(NumReusable(cache, Tokens(100), {.salt = "b"}), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(100)), 0);
}

TEST(BlockCache, OwnBlocksAreFoundByTheirOwnerBeneathSharedOnes) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(64), {.salt = "a"}});
  RunWhole({cache, Tokens(150), {.salt = "a", .own = "1"}});
  EXPECT_EQ(cache.num_cached(), 3);
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.salt = "a", .own = "1"}), 150);
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.salt = "a", .own = "2"}), 64);
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.salt = "a"}), 64);
}

TEST(BlockCache, WhatIsSharedIsFoundWhereOwnBlocksEndBeforeIt) {
  BlockCache cache({.num_blocks = 8});
  RunWhole({cache, Tokens(64), {.own = "1"}});
  RunWhole({cache, Tokens(192)});
  EXPECT_EQ(NumReusable(cache, Tokens(200), {.own = "1"}), 192);
}

TEST(BlockCache, OwnBlocksAreFoundWhereSharedOnesCameLater) {
  BlockCache cache({.num_blocks = 12});
  RunWhole({cache, Tokens(192), {.own = "1"}});
  RunWhole({cache, Tokens(128) + Tokens(20, 1000)});
  EXPECT_EQ(NumReusable(cache, Tokens(192), {.own = "1"}), 192);
}

TEST(BlockCache, DropPrivateFreesWhatOnlyItsOwnerFound) {
  BlockCache cache({.num_blocks = 12});
  RunWhole({cache, Tokens(64)});
  RunWhole({cache, Tokens(150), {.own = "1"}});
  RunWhole({cache, Tokens(150, 1000), {.own = "2"}});
  CachedSequence held(cache, Tokens(128), {.own = "1"});
  held.Open();
  cache.DropPrivate("1");  // its tail, and not the block that is held
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.own = "1"}), 128);
  held.Release();
  cache.DropPrivate("1");
  cache.DropPrivate("none");
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.own = "1"}), 64);
  EXPECT_EQ(NumReusable(cache, Tokens(150, 1000), {.own = "2"}), 150);
  EXPECT_EQ(cache.num_cached(), 4);
}

TEST(BlockCache, HashesThatCollideNeitherHideNorConfuseBlocks) {
  BlockCache cache({.num_blocks = 12, .hash_mask = 0});
  RunWhole({cache, Tokens(150), {.salt = "a"}});
  RunWhole({cache, Tokens(100) + Tokens(50, 1000), {.salt = "a"}});
  RunWhole({cache, Tokens(150, 2000), {.salt = "b"}});
  EXPECT_EQ(NumReusable(cache, Tokens(150), {.salt = "a"}), 150);
  EXPECT_EQ(NumReusable(cache, Tokens(100) + Tokens(50, 1000), {.salt = "a"}), 150);
  EXPECT_EQ(NumReusable(cache, Tokens(150, 2000), {.salt = "a"}), 0);
  EXPECT_EQ(NumReusable(cache, Tokens(64, 64)), 0);
}

TEST(BlockCache, EventsNameWhatOthersFind) {
  KvEvents events(100);
  BlockCache cache({.num_blocks = 5, .events = &events});
  RunWhole({cache, Tokens(140), {.salt = "a"}});
  RunWhole({cache, Tokens(64, 1000), {.own = "1"}});
  const std::vector<KvEvent> stored = events.From(1, 10);
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].salt, "a");
  EXPECT_EQ(stored[0].hash, ChainHash(RootHash("a"), Tokens(64)));
  EXPECT_EQ(stored[1].parent, stored[0].hash);
  EXPECT_EQ(stored[1].hash, ChainHash(stored[0].hash, Tokens(64, 64)));
  BlockTable table;
  ASSERT_TRUE(cache.Extend(table) && cache.Extend(table));  // the tail goes, then the second block
  ASSERT_EQ(events.next_number(), 4u);
  EXPECT_EQ(events.From(3, 1)[0].kind, KvEvent::Kind::kRemoved);
  EXPECT_EQ(events.From(3, 1)[0].hash, stored[1].hash);
  cache.Flush();
  EXPECT_EQ(events.From(4, 1)[0].kind, KvEvent::Kind::kCleared);
}

TEST(BlockCache, InvariantsNameTheTableThatIsMissing) {
  BlockCache cache({.num_blocks = 5});
  CachedSequence sequence(cache, Tokens(10));
  ASSERT_TRUE(sequence.Grow());
  const std::vector<const BlockTable*> tables{&sequence.table};
  EXPECT_TRUE(cache.CheckInvariants(tables).ok());
  EXPECT_THAT(cache.CheckInvariants({}).message(), HasSubstr("block 1 has 1 references, but 0 tables hold it"));
}

TEST(BlockCacheDeathTest, LostBlocksAndLateOpensStopTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto table = std::make_unique<BlockTable>();
        BlockCache cache({.num_blocks = 4});
        CHECK(cache.Extend(*table));
      },
      "num_held\\(\\) == 0 \\(1 vs 0\\)");
  EXPECT_DEATH(
      {
        BlockCache cache({.num_blocks = 4});
        CachedSequence sequence(cache, Tokens(10));
        sequence.Match();
        BlockTable table;
        CHECK(cache.Extend(table));
        cache.Open(sequence.table);
      },
      "num_changes_ == num_changes_at_match_");
}

}  // namespace
}  // namespace latentd
