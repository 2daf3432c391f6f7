#include "engine/schedule/block_pool.h"

#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

TEST(BlockPool, HandsOutAscendingIdsAndNeverTheScratchBlock) {
  BlockPool pool({.num_blocks = 4});
  BlockTable table = *pool.Reserve({.num_new = 3});
  table.ExtendTo(3);
  EXPECT_THAT(table.blocks(), ElementsAre(1, 2, 3));
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.num_active(), 3);
}

TEST(BlockPool, TableReturnsItsBlocksWhenItGoes) {
  BlockPool pool({.num_blocks = 4});
  {
    BlockTable table = *pool.Reserve({.num_new = 2});
    table.ExtendTo(1);
    EXPECT_EQ(pool.num_active(), 1);
    EXPECT_EQ(pool.num_promised(), 1);
  }
  EXPECT_EQ(pool.num_free(), 3);
  EXPECT_EQ(pool.num_promised(), 0);
}

TEST(BlockPool, PromisedBlocksAreNotPromisedTwice) {
  BlockPool pool({.num_blocks = 4});
  std::optional<BlockTable> first = pool.Reserve({.num_new = 2});
  EXPECT_EQ(pool.num_free(), 3);
  EXPECT_FALSE(pool.Reserve({.num_new = 2}).has_value());
  std::optional<BlockTable> second = pool.Reserve({.num_new = 1});
  ASSERT_TRUE(second.has_value());
  first->ExtendTo(2);
  second->ExtendTo(1);
  EXPECT_EQ(pool.num_free(), 0);
}

TEST(BlockPool, MovedTableReturnsItsBlocksOnce) {
  BlockPool pool({.num_blocks = 4});
  BlockTable first = *pool.Reserve({.num_new = 2});
  first.ExtendTo(2);
  BlockTable second = std::move(first);
  first.Release();
  EXPECT_EQ(pool.num_active(), 2);
  BlockTable third = *pool.Reserve({.num_new = 1});
  third.ExtendTo(1);
  third = std::move(second);  // gives back what it held
  EXPECT_EQ(pool.num_active(), 2);
  EXPECT_THAT(third.blocks(), ElementsAre(1, 2));
}

TEST(BlockPool, SharedBlockSurvivesFirstOwner) {
  BlockPool pool({.num_blocks = 6});
  BlockTable first = *pool.Reserve({.num_new = 3});
  first.ExtendTo(3);
  BlockTable second = *pool.Reserve({.shared = first.blocks().first(2), .num_new = 1});
  second.ExtendTo(3);
  EXPECT_THAT(second.blocks(), ElementsAre(1, 2, 4));
  EXPECT_EQ(pool.num_references(1), 2);
  first.Release();
  EXPECT_EQ(pool.num_references(1), 1);
  EXPECT_EQ(pool.num_references(3), 0);
  EXPECT_EQ(pool.num_active(), 3);
  second.Release();
  EXPECT_EQ(pool.num_active(), 0);
}

TEST(BlockPool, SeedPermutesTheOrder) {
  const auto order = [](uint64_t seed) {
    BlockPool pool({.num_blocks = 65, .shuffle_seed = seed});
    BlockTable table = *pool.Reserve({.num_new = 64});
    table.ExtendTo(64);
    return std::vector<BlockId>(table.blocks().begin(), table.blocks().end());
  };
  EXPECT_THAT(order(1), ElementsAreArray(order(1)));
  EXPECT_NE(order(1), order(2));
  EXPECT_NE(order(1), order(0));
  const std::vector<BlockId> shuffled = order(1);
  EXPECT_EQ(std::set<BlockId>(shuffled.begin(), shuffled.end()).size(), 64u);
}

TEST(BlockPoolDeathTest, LostBlocksAndBrokenPromisesStopTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto table = std::make_unique<BlockTable>();
        BlockPool pool({.num_blocks = 4});
        *table = *pool.Reserve({.num_new = 2});
        table->ExtendTo(1);
      },
      "num_free\\(\\) == num_usable\\(\\) \\(2 vs 3\\)");
  EXPECT_DEATH(
      {
        BlockPool pool({.num_blocks = 4});
        BlockTable table = *pool.Reserve({.num_new = 2});
        table.ExtendTo(3);
      },
      "admission reserves a sequence's worst case");
}

// Each block's references are the tables that hold it; the counts are sums over the tables.
void ExpectConsistent(const BlockPool& pool, const std::vector<BlockTable>& tables) {
  std::map<BlockId, int> holders;
  int num_promised = 0;
  for (const BlockTable& table : tables) {
    num_promised += table.num_promised();
    std::set<BlockId> in_table;
    for (BlockId block : table.blocks()) {
      EXPECT_TRUE(in_table.insert(block).second);
      ++holders[block];
    }
  }
  EXPECT_EQ(holders.count(kScratchBlock), 0u);
  for (BlockId block = 0; block < pool.num_total(); ++block) EXPECT_EQ(pool.num_references(block), holders[block]);
  for (auto it = holders.begin(); it != holders.end();) it = it->second == 0 ? holders.erase(it) : std::next(it);
  EXPECT_EQ(pool.num_active(), static_cast<int>(holders.size()));
  EXPECT_EQ(pool.num_promised(), num_promised);
  EXPECT_LE(pool.num_promised(), pool.num_free());
  EXPECT_EQ(pool.num_free() + pool.num_active() + 1, pool.num_total());
}

TEST(BlockPool, StaysConsistentUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const auto below = [&](int bound) { return static_cast<int>(random() % static_cast<uint64_t>(bound)); };
    BlockPool pool({.num_blocks = 2 + below(40), .shuffle_seed = seed % 2 == 0 ? seed : 0});
    std::vector<BlockTable> tables;
    for (int i = 0; i < 400; ++i) {
      const int action = tables.empty() ? 0 : below(4);
      if (action <= 1) {
        BlockReservation reservation{.num_new = below(6)};
        if (action == 1) {
          const std::span<const BlockId> blocks =
              tables[static_cast<size_t>(below(static_cast<int>(tables.size())))].blocks();
          reservation.shared = blocks.first(static_cast<size_t>(below(static_cast<int>(blocks.size()) + 1)));
        }
        const bool fits = reservation.num_new <= pool.num_free() - pool.num_promised();
        std::optional<BlockTable> table = pool.Reserve(reservation);
        EXPECT_EQ(table.has_value(), fits);
        if (table) tables.push_back(std::move(*table));
      } else {
        const size_t chosen = static_cast<size_t>(below(static_cast<int>(tables.size())));
        BlockTable& table = tables[chosen];
        if (action == 2) {
          table.ExtendTo(table.num_blocks() + below(table.num_promised() + 1));
        } else {
          std::swap(table, tables.back());
          tables.pop_back();
        }
      }
      ExpectConsistent(pool, tables);
    }
  }
}

}  // namespace
}  // namespace latentd
