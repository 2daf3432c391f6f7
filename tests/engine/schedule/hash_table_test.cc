#include "engine/schedule/hash_table.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace latentd {
namespace {

// Hashes are few, so that entries collide and stand in each other's places, around the end too.
TEST(HashTable, FindsWhatIsInUnderRandomUse) {
  constexpr int kMost = 50;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    HashTable table(kMost);
    std::map<int32_t, BlockHash> expected;  // by value
    for (int i = 0; i < 500; ++i) {
      const int32_t value = static_cast<int32_t>(random() % 100);
      const auto is_value = [&](int32_t other) { return other == value; };
      const auto found = expected.find(value);
      const BlockHash hash = found == expected.end() ? BlockHash{.low = random() % 20} : found->second;
      const size_t at = table.Find(hash, is_value);
      ASSERT_EQ(at != HashTable::kNowhere, found != expected.end());
      if (found != expected.end()) {
        table.Erase(at);
        expected.erase(found);
      } else if (expected.size() < kMost) {
        table.Insert(hash, value);
        expected.emplace(value, hash);
      }
      ASSERT_EQ(table.size(), expected.size());
      for (const auto& [in, with_hash] : expected) {
        const int32_t wanted = in;
        ASSERT_NE(table.Find(with_hash, [&](int32_t other) { return other == wanted; }), HashTable::kNowhere);
      }
    }
  }
}

TEST(HashCounts, HasWhatWasAddedMoreOftenThanRemoved) {
  HashCounts counts(2);
  const BlockHash hash{.low = 1, .high = 2};
  counts.Add(hash);
  counts.Add(hash);
  counts.Remove(hash);
  EXPECT_TRUE(counts.Has(hash));
  EXPECT_FALSE(counts.Has({.low = 1, .high = 3}));
  counts.Remove(hash);
  EXPECT_FALSE(counts.Has(hash));
}

}  // namespace
}  // namespace latentd
