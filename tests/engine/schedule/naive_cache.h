// BlockCache's rules over a plain list of blocks, each with all tokens from the sequence's first to its own last: no
// index, no hashes, no order but numbers that are compared. Blocks are named by the cache under test; where it has no
// choice, the list says which one it must be.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/block_cache.h"

namespace latentd {

class NaiveCache {
 public:
  struct Block {
    std::string salt = {};
    std::string own = {};
    BlockId parent = kNoBlock;
    std::vector<int32_t> tokens = {};  // empty: cannot be found
    std::vector<bool> drafted = {};    // one for each of its own tokens, the last of these
    int references = 0;
    TimePoint keep_until = kNotKept;
    uint64_t turn = 0;  // when it became the most recently used one
  };
  using Table = std::vector<BlockId>;
  struct Key {
    std::string salt = {};
    std::string own = {};
    std::vector<int32_t> tokens = {};
  };

  explicit NaiveCache(int num_blocks) : num_blocks_(num_blocks) {}

  int NumCommon(const Key& key, int limit) const;  // the longest with anything the key may read
  bool Holds(BlockId block, const std::vector<int32_t>& tokens) const;
  // What a sequence has that goes on behind the first num_tokens of these blocks.
  DraftedSlots Drafted(const Table& path, int num_tokens) const;

  int num_free() const { return num_blocks_ - 1 - static_cast<int>(blocks_.size()); }
  int num_cached() const;
  int num_held() const { return static_cast<int>(blocks_.size()) - num_cached(); }
  int num_kept() const;
  bool is_free(BlockId block) const { return !blocks_.contains(block); }
  const std::map<BlockId, Block>& blocks() const { return blocks_; }  // all but the free ones

  // The one that must be taken next; kNoBlock: any free one.
  BlockId FirstToGo() const;
  void Take(BlockId block, Table& table);
  void Hold(BlockId block, Table& table);
  void Use(BlockId block);  // where it is cached
  // The table, and where its drafted slots begin, as they must be then.
  int Publish(Table& table, const Key& key, int num_committed, TailRule rule, DraftedSlots drafted);
  void Release(Table& table, TimePoint keep_until);
  void Forget(const Table& table);
  void ExpireKept(TimePoint now);
  void DropPrivate(const std::string& own);
  void Flush();

 private:
  bool IsCached(const Block& block) const { return block.references == 0; }
  bool AreSiblings(const Block& a, const Block& b) const {
    return a.parent == b.parent && a.own == b.own && (!a.own.empty() || a.salt == b.salt);
  }
  bool IsCovered(BlockId block) const;
  bool StandsBeneath(const Block& block, BlockId above) const;
  void LetGo(BlockId block);
  void Store(BlockId block, Block stored);
  BlockId FindTwin(const Block& wanted) const;
  void DropCovered();
  void StopKeepingMost();
  template <class Predicate>
  void Drop(const Predicate& predicate);

  const int num_blocks_;
  std::map<BlockId, Block> blocks_;
  uint64_t num_turns_ = 0;
};

}  // namespace latentd
