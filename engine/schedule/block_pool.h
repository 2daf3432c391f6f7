// Block ids of the paged latent cache: which are free, which are held by whom, how many are promised. No memory, only
// counts. A table is promised its blocks when its sequence is admitted, takes them as it grows, and must not outlive
// the pool. Owned by the Scheduler; engine thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "kernels/cache_block.h"

namespace latentd {

using BlockId = int32_t;

inline constexpr BlockId kScratchBlock = 0;  // where padding tokens write; never handed out

// The blocks of a pool of `num_blocks` that sequences can hold.
constexpr int UsableBlocks(int num_blocks) { return num_blocks - 1; }
constexpr int BlocksFor(int num_tokens) { return (num_tokens + kBlockSlots - 1) / kBlockSlots; }

class BlockPool;

// The blocks that one sequence holds, in the order of its positions, and those it may still take. Returns all of them
// when it goes. The pool must outlive it.
class BlockTable {
 public:
  BlockTable() = default;
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;
  ~BlockTable() { Release(); }

  // Takes promised blocks until the table has `num_blocks`; no-op where it has as many. CHECKs the promise.
  void ExtendTo(int num_blocks);
  void Release();

  std::span<const BlockId> blocks() const { return blocks_; }
  int num_blocks() const { return static_cast<int>(blocks_.size()); }
  int num_promised() const { return num_promised_; }

 private:
  friend class BlockPool;
  BlockPool* pool_ = nullptr;
  std::vector<BlockId> blocks_;
  int num_promised_ = 0;  // still to be taken
};

struct BlockPoolOptions {
  int num_blocks = 0;         // the scratch block included
  uint64_t shuffle_seed = 0;  // 0: the block freed last goes out first; else free blocks go out in a random order
};

struct BlockReservation {
  std::span<const BlockId> shared = {};  // held by some other table; the new one starts with them and holds them too
  int num_new = 0;
};

class BlockPool {
 public:
  explicit BlockPool(const BlockPoolOptions& options);
  ~BlockPool();  // CHECKs that all blocks came home
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A table that can grow by num_new blocks without ever failing; nothing where so many are not free and unpromised.
  std::optional<BlockTable> Reserve(const BlockReservation& reservation);

  int num_total() const { return static_cast<int>(references_.size()); }
  int num_usable() const { return UsableBlocks(num_total()); }
  int num_free() const { return static_cast<int>(free_.size()); }  // promised ones included
  int num_active() const { return num_usable() - num_free(); }
  int num_promised() const { return num_promised_; }
  int num_references(BlockId block) const { return references_[static_cast<size_t>(block)]; }

 private:
  friend class BlockTable;
  BlockId TakePromised();
  void Return(const BlockTable& table);

  std::vector<int> references_;  // [blocks] tables that hold it
  std::vector<BlockId> free_;
  int num_promised_ = 0;
  const bool shuffle_;
  std::mt19937_64 random_;
};

}  // namespace latentd
