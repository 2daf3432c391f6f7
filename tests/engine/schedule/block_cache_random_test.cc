// Random use of the cache beside the same rules over a plain list: after each call both are in the same state. The
// predicting layer's slots are there, too: each that a sequence relies on holds what its tokens give.
#include <algorithm>
#include <chrono>
#include <list>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/block_cache.h"
#include "tests/engine/schedule/naive_cache.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;

constexpr int kMostTokens = 6 * kBlockSlots;

// What the predicting layer stores of a token here: a number that depends on it and all before.
uint64_t Latent(uint64_t before, int32_t token) {
  return (before ^ static_cast<uint64_t>(token)) * 0x9E3779B97F4A7C15 + 1;
}

// What random use came across.
struct Seen {
  uint64_t evictions = 0;
  int copies = 0;
  int drafted_hits = 0;
  int hits_behind_holes = 0;
  int holes_by_exchange = 0;
  int lost_tails = 0;
  int exchanges = 0;
  int own_matches = 0;
  int kept = 0;
  int flushes_with_held_blocks = 0;
};

class RandomUse {
 public:
  RandomUse(uint64_t seed, uint64_t hash_mask)
      : random_(seed),
        num_blocks_(2 + Below(40)),
        has_hashes_(hash_mask == ~uint64_t{0}),
        cache_({.num_blocks = num_blocks_,
                .shuffle_seed = seed % 2 == 0 ? seed : 0,
                .hash_mask = hash_mask,
                .events = &events_}),
        naive_(num_blocks_),
        latents_(static_cast<size_t>(num_blocks_) * kBlockSlots) {}

  void Run(int num_calls, Seen& seen) {
    for (int i = 0; i < num_calls && !testing::Test::HasFailure(); ++i) {
      Act(seen);
      Check();
    }
    while (!live_.empty()) End(live_.begin(), kNotKept);
    Check();
    seen.evictions += cache_.num_evictions();
  }

 private:
  struct Live {
    NaiveCache::Key key;
    int num_committed = 0;
    BlockTable table = {};
    NaiveCache::Table naive_table = {};
    DraftedSlots drafted = {};
    PrefixKey prefix() const { return {.salt = key.salt, .tokens = key.tokens, .own = key.own}; }
  };
  using Place = std::list<Live>::iterator;

  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }
  Place Any() { return std::next(live_.begin(), Below(static_cast<int>(live_.size()))); }

  void Act(Seen& seen) {
    const int action = Below(100);
    if (live_.empty() || action < 25) {
      Start(DrawKey(), seen);
    } else if (action < 60) {
      Advance(Any());
    } else if (action < 75) {
      Publish(Any(), Below(2) == 0 ? TailRule::kWithTail : TailRule::kFullBlocks, seen);
    } else if (action < 92) {
      const Place ending = Any();
      if (Below(4) > 0) Publish(ending, TailRule::kWithTail, seen);
      if (Below(8) == 0) Forget(ending);
      End(ending, Below(3) == 0 ? now_ + std::chrono::seconds(Below(20)) : kNotKept);
      seen.kept += cache_.num_kept();
    } else if (action < 96) {
      now_ += std::chrono::seconds(Below(10));
      cache_.ExpireKept(now_);
      naive_.ExpireKept(now_);
    } else if (action < 97) {
      const std::string own = "owner " + std::to_string(1 + Below(1 + num_owners_));
      cache_.DropPrivate(own);
      naive_.DropPrivate(own);
    } else if (action < 98) {
      EXPECT_EQ(cache_.Flush(), naive_.num_cached());
      naive_.Flush();
      seen.flushes_with_held_blocks += naive_.num_held() > 0 ? 1 : 0;
    }
  }

  // It parts from one that was seen at any token, often beside the edge of a block.
  NaiveCache::Key DrawKey() {
    NaiveCache::Key key;
    if (!keys_seen_.empty()) key = keys_seen_[random_() % keys_seen_.size()];
    const int size = static_cast<int>(key.tokens.size());
    const int edge = std::clamp(Below(size / kBlockSlots + 1) * kBlockSlots + Below(3) - 1, 0, size);
    key.tokens.resize(static_cast<size_t>(Below(2) == 0 ? edge : Below(size + 1)));
    const int num_tokens = std::min(kMostTokens, static_cast<int>(key.tokens.size()) + 1 + Below(150));
    while (static_cast<int>(key.tokens.size()) < num_tokens) key.tokens.push_back(1 + Below(2));
    if (Below(3) == 0) {
      key.own.clear();
      key.salt =
          std::vector<std::string>{"", "a", "another salt, longer than what a string holds itself"}[random_() % 3];
      if (Below(2) == 0) key.own = "owner " + std::to_string(++num_owners_);
    }
    if (Below(8) == 0) key.own.clear();  // the same tokens, shared
    if (keys_seen_.size() == 8) keys_seen_.erase(keys_seen_.begin());
    keys_seen_.push_back(key);
    return key;
  }

  bool MayRead(const NaiveCache::Key& key, BlockId id) const {
    const NaiveCache::Block& block = naive_.blocks().at(id);
    return block.own.empty() ? block.salt == key.salt : block.own == key.own;
  }

  std::vector<int32_t> First(const Live& live, int count) const {
    return {live.key.tokens.begin(), live.key.tokens.begin() + count};
  }

  PrefixMatch CheckedMatch(const Live& live, int limit) {
    const PrefixMatch match = cache_.Match(live.prefix(), limit);
    const int num_common = naive_.NumCommon(live.key, limit);
    EXPECT_EQ(match.num_tokens + match.lost_to_granularity, num_common);
    EXPECT_EQ(match.num_blocks, num_common / kBlockSlots);
    EXPECT_EQ(match.has_tail, match.num_tokens % kBlockSlots != 0);
    if (match.lost_to_granularity > 0) {
      EXPECT_EQ(match.lost_to_granularity, num_common % kBlockSlots);
      EXPECT_LE(cache_.num_available() - match.num_cached_blocks, 1);
    }
    EXPECT_LE(num_common + match.lost_to_eviction + match.lost_to_salt, limit);
    return match;
  }

  void Start(NaiveCache::Key key, Seen& seen) {
    const Place live = live_.insert(live_.end(), Live{.key = std::move(key)});
    const PrefixMatch match = CheckedMatch(*live, Below(static_cast<int>(live->key.tokens.size()) + 1));
    const std::optional<BlockCopy> copy = cache_.Open(live->table);
    ASSERT_EQ(copy.has_value(), match.has_tail);
    ASSERT_EQ(live->table.num_published(), match.num_blocks);
    const int num_cached = naive_.num_cached();
    for (BlockId block : live->table.blocks().first(static_cast<size_t>(match.num_blocks))) {
      const int end = static_cast<int>(live->naive_table.size() + 1) * kBlockSlots;
      ASSERT_TRUE(naive_.Holds(block, First(*live, end)) && MayRead(live->key, block));
      seen.own_matches += naive_.blocks().at(block).own.empty() ? 0 : 1;
      naive_.Hold(block, live->naive_table);
    }
    EXPECT_EQ(match.num_cached_blocks, num_cached - naive_.num_cached());
    if (copy) {
      EXPECT_EQ(copy->num_slots, match.num_tokens % kBlockSlots);
      EXPECT_EQ(copy->to, live->table.blocks().back());
      ASSERT_TRUE(naive_.Holds(copy->from, First(*live, match.num_tokens)) && MayRead(live->key, copy->from));
      NaiveCache::Table source;
      naive_.Hold(copy->from, source);
      CheckTaken(*live);
      naive_.Release(source, kNotKept);
    }
    live->num_committed = match.num_tokens;
    live->drafted = match.drafted;
    NaiveCache::Table path = live->naive_table;
    if (copy) path.back() = copy->from;
    const DraftedSlots expected = naive_.Drafted(path, match.num_tokens);
    ASSERT_EQ(match.drafted.from, expected.from);
    ASSERT_EQ(match.drafted.to, expected.to);
    if (copy) std::copy_n(&latents_[FirstSlot(copy->from)], copy->num_slots, &latents_[FirstSlot(copy->to)]);
    seen.drafted_hits += expected.to > kFirstDraftedSlot ? 1 : 0;
    seen.hits_behind_holes += expected.from > kFirstDraftedSlot ? 1 : 0;
    seen.copies += copy ? 1 : 0;
    seen.lost_tails += match.lost_to_granularity > 0 ? 1 : 0;
  }

  // The last of its table is new.
  void CheckTaken(Live& live) {
    const BlockId block = live.table.blocks().back();
    const BlockId expected = naive_.FirstToGo();
    ASSERT_TRUE(expected == kNoBlock ? naive_.is_free(block) : block == expected);
    naive_.Take(block, live.naive_table);
  }

  // Some tokens on; it is preempted where there is no block.
  void Advance(Place live) {
    const int end = live->num_committed + 1 + Below(80);
    while (static_cast<int>(live->key.tokens.size()) <= end) live->key.tokens.push_back(1 + Below(2));
    while (live->table.num_blocks() < BlocksFor(end)) {
      const bool is_full = naive_.num_free() == 0 && naive_.num_cached() == 0;
      ASSERT_EQ(cache_.Extend(live->table), !is_full);
      if (is_full) return End(live, kNotKept);
      CheckTaken(*live);
    }
    if (Below(8) > 0) Draft(*live, end);
    live->num_committed = end;
    if (end > kMostTokens) End(live, kNotKept);
  }

  // The layer runs behind a step that ends there, and often knows the next token: its window goes on, or a new one
  // begins. A draft of its own is left behind what it knows.
  void Draft(Live& live, int end) {
    const int num_slots = live.table.num_blocks() * kBlockSlots;
    const int to = std::min(end + Below(2), num_slots);
    if (live.drafted.to < live.num_committed) live.drafted.from = live.drafted.to = live.num_committed + 1;
    ForEachLatent(live, to, [&](int position, uint64_t latent) {
      if (position >= live.drafted.to) LatentAt(live, position) = latent;
    });
    live.drafted.to = std::max(live.drafted.to, to);
    if (live.drafted.to < num_slots) LatentAt(live, live.drafted.to) = 0;
  }

  void CheckDrafted(const Live& live) {
    ForEachLatent(live, live.drafted.to, [&](int position, uint64_t latent) {
      if (position < live.drafted.from) return;
      ASSERT_EQ(LatentAt(live, position), latent) << "position " << position;
    });
    ASSERT_TRUE(cache_.IsDrafted(live.table, live.drafted));
  }

  template <class Visit>
  void ForEachLatent(const Live& live, int end, const Visit& visit) {
    uint64_t latent = 0;
    for (int position = 0; position < end; ++position) {
      latent = Latent(latent, live.key.tokens[static_cast<size_t>(position)]);
      visit(position, latent);
    }
  }

  size_t FirstSlot(BlockId block) const { return static_cast<size_t>(block) * kBlockSlots; }
  uint64_t& LatentAt(const Live& live, int position) {
    const BlockId block = live.table.blocks()[static_cast<size_t>(position / kBlockSlots)];
    return latents_[FirstSlot(block) + static_cast<size_t>(position % kBlockSlots)];
  }

  void Publish(Place live, TailRule rule, Seen& seen) {
    const NaiveCache::Table before = live->naive_table;
    const int from = cache_.Publish(live->table, live->prefix(), live->num_committed, rule, live->drafted);
    ASSERT_EQ(from, naive_.Publish(live->naive_table, live->key, live->num_committed, rule, live->drafted));
    seen.exchanges += live->naive_table != before ? 1 : 0;
    seen.holes_by_exchange += from != live->drafted.from ? 1 : 0;
    live->drafted.from = from;
  }

  void Forget(Place live) {
    cache_.Forget(live->table);
    naive_.Forget(live->naive_table);
    Check();
  }

  void End(Place live, TimePoint keep_until) {
    cache_.Release(live->table, keep_until);
    naive_.Release(live->naive_table, keep_until);
    live_.erase(live);
  }

  void Check() {
    std::vector<const BlockTable*> tables;
    for (const Live& live : live_) {
      ASSERT_THAT(live.table.blocks(), ElementsAreArray(live.naive_table));
      CheckDrafted(live);
      tables.push_back(&live.table);
    }
    ASSERT_EQ(cache_.num_free(), naive_.num_free());
    ASSERT_EQ(cache_.num_cached(), naive_.num_cached());
    ASSERT_EQ(cache_.num_held(), naive_.num_held());
    ASSERT_EQ(cache_.num_kept(), naive_.num_kept());
    ASSERT_EQ(cache_.CheckInvariants(tables), absl::OkStatus());
    if (has_hashes_) CheckEvents();
  }

  // A reader of the events knows each full block that is shared, and the one before it.
  void CheckEvents() {
    for (const KvEvent& event : events_.From(next_event_, 1000)) {
      ASSERT_EQ(event.number, next_event_++);
      if (event.kind == KvEvent::Kind::kCleared) {
        as_read_.clear();
      } else if (event.kind == KvEvent::Kind::kRemoved) {
        ASSERT_EQ(as_read_.erase(event.hash), 1u);
      } else {
        ASSERT_TRUE(!event.parent || as_read_.contains(*event.parent));
        const BlockHash before = event.parent ? *event.parent : RootHash(event.salt);
        ASSERT_EQ(event.hash, ChainHash(before, event.token_ids));
        ASSERT_TRUE(as_read_.insert(event.hash).second);
      }
    }
    ASSERT_EQ(events_.next_number(), next_event_);
    std::set<BlockHash> expected;
    for (const auto& [id, block] : naive_.blocks()) {
      if (block.tokens.empty() || block.tokens.size() % kBlockSlots != 0 || !block.own.empty()) continue;
      BlockHash hash = RootHash(block.salt);
      for (size_t i = 0; i < block.tokens.size(); i += kBlockSlots) {
        hash = ChainHash(hash, std::span(block.tokens).subspan(i, kBlockSlots));
      }
      expected.insert(hash);
    }
    ASSERT_EQ(as_read_, expected);
  }

  std::mt19937_64 random_;
  const int num_blocks_;
  const bool has_hashes_;
  KvEvents events_{1000};
  BlockCache cache_;
  NaiveCache naive_;
  std::vector<uint64_t> latents_;  // [blocks, kBlockSlots] of the predicting layer
  std::list<Live> live_;
  std::vector<NaiveCache::Key> keys_seen_;
  TimePoint now_{};
  int num_owners_ = 0;
  std::set<BlockHash> as_read_;
  uint64_t next_event_ = 1;
};

Seen Use(int num_seeds, uint64_t hash_mask) {
  Seen seen;
  for (uint64_t seed = 1; seed <= static_cast<uint64_t>(num_seeds) && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomUse(seed, hash_mask).Run(500, seen);
  }
  return seen;
}

TEST(BlockCache, DoesAsAPlainListOfBlocksUnderRandomUse) {
  const Seen seen = Use(300, ~uint64_t{0});
  EXPECT_GT(seen.evictions, 1000u);
  EXPECT_GT(seen.copies, 1000);
  EXPECT_GT(seen.drafted_hits, 1000);
  EXPECT_GT(seen.hits_behind_holes, 100);
  EXPECT_GT(seen.holes_by_exchange, 10);
  EXPECT_GT(seen.lost_tails, 10);
  EXPECT_GT(seen.exchanges, 100);
  EXPECT_GT(seen.own_matches, 100);
  EXPECT_GT(seen.kept, 100);
  EXPECT_GT(seen.flushes_with_held_blocks, 10);
}

TEST(BlockCache, DoesTheSameWhereAllHashesCollide) {
  EXPECT_GT(Use(60, 0).copies, 200);
  EXPECT_GT(Use(60, 3).copies, 200);
}

}  // namespace
}  // namespace latentd
