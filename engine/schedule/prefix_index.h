// Which cached or held blocks hold which tokens: a tree. A block is a full one, beneath the one whose tokens precede
// its own, or a tail, a leaf of fewer tokens. Full ones are found by hash and then compared (block before, scope, ids):
// hashes that collide cost a comparison. Says what is stored, not what may go: BlockCache keeps each block's ancestors,
// and no tail unheld that another one covers. Engine thread only.
//
// Each stored block knows how many of its first slots the predicting layer may lack (docs/spec/deepseek.md 3.7). The
// slots behind those are there whatever stands above the block: that layer stores of a token what the token and the
// main model's hidden state before it give, so that a slot never depends on where a window of that layer began.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "engine/schedule/block_id.h"
#include "engine/schedule/chain_hash.h"
#include "engine/schedule/evicted_hashes.h"
#include "engine/schedule/hash_table.h"
#include "engine/schedule/kv_events.h"
#include "engine/schedule/recycled_set.h"
#include "engine/schedule/scopes.h"
#include "engine/schedule/zeroed_array.h"

namespace latentd {

// What a sequence finds blocks by, and stores them under.
struct PrefixKey {
  std::string_view salt;            // only equal ones share: the tenant and its cache.salt
  std::span<const int32_t> tokens;  // the sequence's, from the first
  // Not empty: what is stored under this key is found by keys with the same `own` alone, beneath what its salt shares.
  std::string_view own = {};
};

// Whose first slots hold what is looked for.
struct PrefixTail {
  BlockId block = kNoBlock;
  int num_slots = 0;
};

// What is stored of a sequence's first tokens.
struct PrefixPath {
  std::vector<BlockId> blocks;  // full ones
  PrefixTail tail;              // of the tokens after them
  // Tokens from the first, up to which …
  int end_of_evicted = 0;  // full blocks beyond the path were evicted
  int end_of_salted = 0;   // they are stored under another salt
};

// The tokens of a block, full or fewer, beneath the block before it (kNoBlock: it is a first one).
struct ChildIds {
  BlockId parent = kNoBlock;
  std::span<const int32_t> ids;
};

enum class Removal : uint8_t {
  kEvicted,  // remembered, so that it is known what evictions cost
  kDropped,
  kFlushed,  // with all others: they have one event together
};

struct PrefixIndexOptions {
  int num_blocks = 0;
  uint64_t hash_mask = ~uint64_t{0};
  KvEvents* events = nullptr;
};

class PrefixIndex {
 public:
  explicit PrefixIndex(const PrefixIndexOptions& options);

  // The longest path for the first `limit` tokens.
  void Match(const PrefixKey& key, int limit, PrefixPath& path) const;
  // The full block of exactly these ids that the key may read; kNoBlock where there is none.
  BlockId FindFull(const PrefixKey& key, const ChildIds& child) const;
  // Among what is stored under the key: one whose ids begin with these; the longest whose ids, fewer, these begin with.
  BlockId FindCovering(const PrefixKey& key, const ChildIds& child) const;
  BlockId FindCovered(const PrefixKey& key, const ChildIds& child) const;
  // Whether another one's ids begin with this one's.
  bool IsCovered(BlockId tail) const;

  // Stores it under the key; a tail that is in already goes on with these ids. No equal one may be in.
  void Add(BlockId block, const PrefixKey& key, const ChildIds& child, int num_undrafted);
  void Remove(BlockId leaf, Removal removal);
  void Flushed() const;  // all were removed, kFlushed

  bool Has(BlockId block) const { return At(block).num_tokens > 0; }
  int num_tokens(BlockId block) const { return At(block).num_tokens; }
  int num_undrafted(BlockId block) const { return At(block).num_undrafted; }  // its slots behind those are drafted
  BlockId parent(BlockId block) const { return At(block).parent; }
  int size() const { return static_cast<int>(children_.all().size()); }
  void AppendChildren(BlockId block, std::vector<BlockId>& children) const;
  // The events by which a reader would know all that it has been told of, a block's after that of the one before it.
  void AppendStored(std::vector<KvEvent>& events) const;
  // Runs `visit(const BlockHash&)` for each that a reader of the events knows: the full ones that a salt shares.
  template <class Visit>
  void ForEachTold(const Visit& visit) const {
    for (const BlockId block : children_.all()) {
      if (IsTold(block)) visit(At(block).hash);
    }
  }
  // Runs `visit(BlockId)`, which may remove it, for each that is stored with this `own`, leaves first.
  template <class Visit>
  void ForEachOwn(std::string_view own, const Visit& visit) {
    const ScopeId scope = scopes_.Find(own, Sharing::kOwn);
    BlockId block = scope == kNoScope ? kNoBlock : scopes_.at(scope).newest;
    while (block != kNoBlock) {
      const BlockId older = At(block).older;
      visit(block);
      block = older;
    }
  }

  // INTERNAL where a block is not found by what it holds, or the tree is none.
  absl::Status CheckInvariants() const;

 private:
  struct Node {
    BlockId parent = kNoBlock;
    ScopeId scope = kNoScope;
    int32_t num_tokens = 0;  // 0: the block is not in the tree
    int32_t num_undrafted = 0;
    int32_t num_children = 0;
    BlockHash hash;                              // of full ones
    BlockHash content;                           // the same without a salt
    BlockId newer = kNoBlock, older = kNoBlock;  // in its scope
  };
  // Where a block stands among its siblings: those of one parent and scope, by their ids.
  struct Place {
    BlockId parent = kNoBlock;
    ScopeId scope = kNoScope;
    std::span<const int32_t> ids;
  };
  struct Before {
    using is_transparent = void;
    const PrefixIndex* index;
    bool operator()(const Place& a, const Place& b) const;
    bool operator()(BlockId a, BlockId b) const { return (*this)(index->PlaceOf(a), index->PlaceOf(b)); }
    bool operator()(BlockId a, const Place& b) const { return (*this)(index->PlaceOf(a), b); }
    bool operator()(const Place& a, BlockId b) const { return (*this)(a, index->PlaceOf(b)); }
  };
  // What a key may read, resolved once.
  struct Readable {
    ScopeId shared = kNoScope;
    ScopeId own = kNoScope;
  };
  // The end of a way down the tree.
  struct Reached {
    BlockId last = kNoBlock;
    int num_tokens = 0;
  };
  // The hashes of a chain's last block, salted and not.
  struct ChainEnd {
    BlockHash hash;
    BlockHash content;
  };

  Node& At(BlockId block) { return nodes_[static_cast<size_t>(block)]; }
  const Node& At(BlockId block) const { return nodes_[static_cast<size_t>(block)]; }
  std::span<const int32_t> IdsOf(BlockId block) const;
  Place PlaceOf(BlockId block) const { return {At(block).parent, At(block).scope, IdsOf(block)}; }
  BlockHash Hash(const BlockHash& before, std::span<const int32_t> ids) const;
  ChainEnd EndOf(BlockId block, std::string_view salt) const;
  Readable ScopesOf(const PrefixKey& key) const;
  ScopeId ScopeToStore(const PrefixKey& key) const;
  bool IsSibling(BlockId block, const Place& place) const;
  bool IsTold(BlockId block) const {
    return num_tokens(block) == kBlockSlots && scopes_.at(At(block).scope).sharing == Sharing::kShared;
  }

  BlockId FindExact(const BlockHash& hash, const Place& place) const;
  // Down full blocks of that scope, each to `visit`, as far as they hold the wanted tokens.
  template <class Visit>
  Reached Descend(const PrefixKey& wanted, ScopeId scope, Reached from, const Visit& visit) const;
  PrefixTail FindPartial(const PrefixKey& wanted, ScopeId scope, const Reached& from) const;
  void TakeOwn(const PrefixKey& wanted, ScopeId own, PrefixPath& path) const;
  void MeasureLosses(const PrefixKey& wanted, PrefixPath& path) const;
  void Link(BlockId block);
  void Unlink(BlockId block);
  void AddFull(BlockId block, std::string_view salt);
  void RemoveFull(BlockId block, Removal removal);
  const char* FindFault(BlockId block) const;  // null where there is none

  const uint64_t hash_mask_;
  KvEvents* const events_;
  std::vector<Node> nodes_;   // [blocks]
  ZeroedArray<int32_t> ids_;  // [blocks, kBlockSlots]
  Scopes scopes_;
  HashTable full_;                         // blocks by hash
  RecycledSet<BlockId, Before> children_;  // all in the tree
  HashCounts contents_;                    // of full ones that are shared
  EvictedHashes evicted_;
};

}  // namespace latentd
