// What the cache knows of the predicting layer's slots.
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"

namespace latentd {
namespace {

// The drafted slots that a hit of the first num_tokens tokens has.
std::pair<int, int> Drafted(BlockCache& cache, int num_tokens) {
  const DraftedSlots drafted = CachedSequence(cache, Tokens(num_tokens)).Match().drafted;
  return {drafted.from, drafted.to};
}

constexpr std::pair kNone{kFirstDraftedSlot, kFirstDraftedSlot};

void RunDrafted(BlockCache& cache, int num_tokens, const DraftedSlots& drafted) {
  CachedSequence sequence(cache, Tokens(num_tokens));
  ASSERT_TRUE(sequence.Grow());
  sequence.Publish(drafted);
  sequence.Release();
}

TEST(DraftedSlots, AHitHasThemAsItsSequenceHadThem) {
  BlockCache cache({.num_blocks = 8});
  RunDrafted(cache, 140, {.from = 1, .to = 141});
  EXPECT_EQ(Drafted(cache, 200), std::pair(1, 140));
  EXPECT_EQ(Drafted(cache, 135), std::pair(1, 135));  // ends in the tail, which is copied
  EXPECT_EQ(Drafted(cache, 128), std::pair(1, 128));
  EXPECT_EQ(Drafted(cache, 30), std::pair(1, 30));  // in a full block
}

TEST(DraftedSlots, AHitHasNoneWhereNoneWereDrafted) {
  BlockCache cache({.num_blocks = 8});
  RunDrafted(cache, 140, {});
  EXPECT_EQ(Drafted(cache, 200), kNone);
  EXPECT_EQ(Drafted(cache, 0), kNone);
}

TEST(DraftedSlots, AHitHasThemFromWhereItsSequenceBeganTo) {
  BlockCache cache({.num_blocks = 8});
  RunDrafted(cache, 140, {.from = 70, .to = 141});
  EXPECT_EQ(Drafted(cache, 200), std::pair(70, 140));
  EXPECT_EQ(Drafted(cache, 71), std::pair(70, 71));
  EXPECT_EQ(Drafted(cache, 70), kNone);
}

TEST(DraftedSlots, AHoleAtTheEndOfABlockHidesWhatIsBefore) {
  BlockCache cache({.num_blocks = 8});
  RunDrafted(cache, 140, {.from = 1, .to = 139});
  EXPECT_EQ(Drafted(cache, 200), kNone);
  EXPECT_EQ(Drafted(cache, 128), std::pair(1, 128));
}

TEST(DraftedSlots, ATailIsJudgedAgainAsItGrows) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence sequence(cache, Tokens(70));
  ASSERT_TRUE(sequence.Grow());
  sequence.Publish(DraftedSlots{.from = 1, .to = 71});
  EXPECT_EQ(Drafted(cache, 200), std::pair(1, 70));
  sequence.tokens = Tokens(75);
  sequence.Publish(DraftedSlots{.from = 1, .to = 71});  // five steps did not draft
  EXPECT_EQ(Drafted(cache, 200), kNone);
  sequence.tokens = Tokens(80);
  sequence.Publish(DraftedSlots{.from = 76, .to = 81});
  EXPECT_EQ(Drafted(cache, 200), std::pair(76, 80));
}

TEST(DraftedSlots, AnExchangeTellsWhatTheTwinLacks) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence first(cache, Tokens(192)), second(cache, Tokens(192));
  ASSERT_TRUE(first.Grow() && second.Grow());
  EXPECT_EQ(first.Publish(DraftedSlots{.from = 80, .to = 193}), 80);
  EXPECT_EQ(second.Publish(DraftedSlots{.from = 1, .to = 193}), 80);
  EXPECT_TRUE(cache.IsDrafted(second.table, {.from = 80, .to = 193}));
  EXPECT_FALSE(cache.IsDrafted(second.table, {.from = 1, .to = 193}));
  EXPECT_TRUE(cache.IsDrafted(second.table, {.from = 1, .to = 1}));
}

TEST(DraftedSlots, AnExchangeForADraftedTwinChangesNothing) {
  BlockCache cache({.num_blocks = 8});
  CachedSequence first(cache, Tokens(192)), second(cache, Tokens(192));
  ASSERT_TRUE(first.Grow() && second.Grow());
  EXPECT_EQ(first.Publish(DraftedSlots{.from = 1, .to = 193}), 1);
  EXPECT_EQ(second.Publish(DraftedSlots{.from = 80, .to = 193}), 80);
}

TEST(DraftedSlots, ABlockThatGoesForgetsThem) {
  BlockCache cache({.num_blocks = 3});
  RunDrafted(cache, 128, {.from = 1, .to = 129});
  cache.Flush();
  RunDrafted(cache, 128, {});
  EXPECT_EQ(Drafted(cache, 128), kNone);
}

// Only the first block lacks them, and what stands beneath it was drafted by another sequence.
TEST(DraftedSlots, ABlockMayHaveThemWhereTheOneBeforeDoesNot) {
  BlockCache cache({.num_blocks = 8});
  RunDrafted(cache, 64, {});
  CachedSequence second(cache, Tokens(150));
  second.Open();
  ASSERT_TRUE(second.Grow());
  EXPECT_EQ(second.Publish(DraftedSlots{.from = 65, .to = 151}), 65);
  EXPECT_EQ(Drafted(cache, 200), std::pair(65, 150));
}

}  // namespace
}  // namespace latentd
