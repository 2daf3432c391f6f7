// Block ids of the paged latent cache: free, held by tables, or cached: held by none and findable by the tokens
// in them. No latents, only ids and counts. Free + held + cached + the scratch block = all, after each call. Owned by
// the Scheduler; engine thread only. Tables must not outlive the cache.
//
// A sequence's calls: Match and Open where it may read; Extend as it grows; Publish once positions are committed in all
// layers; Release when it ends or is preempted. Memory is taken at construction, and by BlockTable::ReserveMemory.
//
// Blocks are found by their tokens, whether or not the predicting layer has all its slots in them: steps that do not
// draft leave holes there. A sequence relies on those behind the last hole: Match tells which, Publish where an
// exchange cost some. A block may have them where those above it do not.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/schedule/block_id.h"
#include "engine/schedule/eviction_order.h"
#include "engine/schedule/kv_events.h"
#include "engine/schedule/prefix_index.h"

namespace latentd {

class BlockCache;

// The blocks that one sequence holds, in the order of its positions. Gives them back when it goes.
class BlockTable {
 public:
  BlockTable() = default;
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;
  ~BlockTable();

  // It takes nothing from the heap while it has no more than so many. A released table keeps this memory.
  void ReserveMemory(int num_blocks) { blocks_.reserve(static_cast<size_t>(num_blocks)); }

  std::span<const BlockId> blocks() const { return blocks_; }
  int num_blocks() const { return static_cast<int>(blocks_.size()); }
  int num_published() const { return num_published_; }  // of them, from the first: full and findable

 private:
  friend class BlockCache;
  BlockCache* cache_ = nullptr;  // where it holds blocks
  std::vector<BlockId> blocks_;
  int num_published_ = 0;
};

// The first position has none before it to be predicted from: it needs no slot in the predicting layer.
inline constexpr int kFirstDraftedSlot = 1;

// The slots of a sequence, from `from` up to `to`, that the predicting layer has. `from` does not move back while the
// sequence holds its blocks: a row that was planned before an exchange may have seen more of them.
struct DraftedSlots {
  int from = kFirstDraftedSlot;
  int to = kFirstDraftedSlot;
};

struct BlockCacheOptions {
  int num_blocks = 0;                 // the scratch block included
  uint64_t shuffle_seed = 0;          // 0: the block freed last goes out first; else free ones go out in a random order
  uint64_t hash_mask = ~uint64_t{0};  // tests clear bits, so that hashes collide
  KvEvents* events = nullptr;         // told of each full block that others can find; must outlive the cache
};

// What Match found for a sequence, and what it did not.
struct PrefixMatch {
  int num_tokens = 0;         // to be reused, at most the limit
  int num_blocks = 0;         // whole ones among them
  int num_cached_blocks = 0;  // blocks to be taken that none holds now: so many fewer are available
  bool has_tail = false;      // num_tokens ends within a block: it is copied to one more, which is available
  DraftedSlots drafted = {};  // up to num_tokens; as of a new sequence where the last of them is missing

  // Tokens beyond, each counted once: what they would have been without …
  int lost_to_granularity = 0;  // the lack of a block to copy a tail to
  int lost_to_eviction = 0;     // evictions, as far as these are remembered
  int lost_to_salt = 0;         // isolation: stored under another salt
};

// The first num_slots slots, in each layer, before the step's first write. Copies of a step run in their order: a
// source may be the destination of a later one.
struct BlockCopy {
  BlockId from = kNoBlock;
  BlockId to = kNoBlock;
  int num_slots = 0;
};

enum class TailRule : uint8_t { kFullBlocks, kWithTail };

class BlockCache {
 public:
  explicit BlockCache(const BlockCacheOptions& options);
  ~BlockCache();  // CHECKs that no table holds any
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // The longest common prefix of the first `limit` tokens with anything stored. Changes nothing but what Open opens.
  PrefixMatch Match(const PrefixKey& key, int limit);
  // What the last Match found, to an empty table, as long as nothing else was called. The copy where it has a tail.
  std::optional<BlockCopy> Open(BlockTable& table);

  // One more block: a free one, else the one first to be evicted; false where all are held.
  [[nodiscard]] bool Extend(BlockTable& table);

  // The first num_committed of key.tokens are in the table's blocks, for good: full ones that were not yet become
  // findable, and kWithTail the partial last one, too; it may be written on behind them, and published again. A block
  // whose twin is stored already is exchanged for that. A table keeps one key's salt and `own` for life.
  // Returns where the table's drafted slots begin now: at drafted.from, or behind what a twin lacks.
  int Publish(BlockTable& table, const PrefixKey& key, int num_committed, TailRule rule, DraftedSlots drafted = {});
  // Whether all of these that are in published blocks are drafted there, for invariants.
  bool IsDrafted(const BlockTable& table, const DraftedSlots& drafted) const;

  // Findable blocks become cached, the most recently used ones; the rest become free. Kept until then, its findable
  // ones are evicted after all that are not kept, for as long as at most half of all blocks are.
  void Release(BlockTable& table, TimePoint keep_until = kNotKept);
  void ExpireKept(TimePoint now);
  // What the table alone holds may be wrong: it, and what is cached beneath it, is findable no longer.
  void Forget(BlockTable& table);

  // Frees what is cached of all that was published with PrefixKey::own = `own`.
  void DropPrivate(std::string_view own);
  // Frees all that is cached. Returns how many blocks.
  int Flush();

  int num_total() const { return static_cast<int>(references_.size()); }
  int num_usable() const { return UsableBlocks(num_total()); }
  int num_free() const { return static_cast<int>(free_.size()); }
  int num_cached() const { return order_.size(); }
  int num_available() const { return num_free() + num_cached(); }
  int num_held() const { return num_usable() - num_available(); }
  int num_kept() const { return order_.num_kept(); }  // of the cached ones
  int num_references(BlockId block) const { return references_[static_cast<size_t>(block)]; }
  uint64_t num_evictions() const { return num_evictions_; }
  void AppendStored(std::vector<KvEvent>& events) const { index_.AppendStored(events); }
  // Runs `visit(const BlockHash&)` for each block that the events have told of, and not of its end.
  template <class Visit>
  void ForEachTold(const Visit& visit) const {
    index_.ForEachTold(visit);
  }

  // INTERNAL where states, counts, order or index contradict each other or `tables`, which are all that hold blocks.
  // Time by the number of blocks; for tests, and now and then in production.
  absl::Status CheckInvariants(std::span<const BlockTable* const> tables) const;

 private:
  friend class BlockTable;

  // For CheckInvariants.
  enum class State : uint8_t { kScratch, kFree, kCached, kHeld };

  int32_t& References(BlockId block) { return references_[static_cast<size_t>(block)]; }
  bool IsCached(BlockId block) const { return num_references(block) == 0 && index_.Has(block); }
  BlockId Take();
  void Hold(BlockId block);
  void LetGo(BlockId block);
  void Uncache(BlockId block, Removal removal);
  void Unstore(BlockId block, Removal removal);
  void PublishNext(BlockTable& table, const PrefixKey& key, DraftedSlots& drafted);
  void PublishTail(BlockTable& table, const PrefixKey& key, int num_ids, const DraftedSlots& drafted);
  void Store(BlockId block, const PrefixKey& key, const ChildIds& child, int num_undrafted);
  int EndOfUndrafted(BlockId block, int index) const;
  absl::Status CheckTables(std::span<const BlockTable* const> tables) const;
  absl::Status CheckFree(std::vector<State>& states) const;
  absl::Status CheckOrder(std::vector<State>& states) const;

  std::vector<int32_t> references_;  // [blocks] tables that hold it
  std::vector<BlockId> free_;
  EvictionOrder order_;  // of cached blocks
  PrefixIndex index_;    // of all findable ones, held or cached
  PrefixPath path_;      // of the last Match
  uint64_t num_changes_ = 0, num_changes_at_match_ = 0;
  uint64_t num_evictions_ = 0;
  const bool shuffle_;
  std::mt19937_64 random_;
};

}  // namespace latentd
