#include "engine/schedule/block_pool.h"

#include <utility>

#include "base/check.h"

namespace latentd {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      blocks_(std::exchange(other.blocks_, {})),
      num_promised_(std::exchange(other.num_promised_, 0)) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = std::exchange(other.pool_, nullptr);
  blocks_ = std::exchange(other.blocks_, {});
  num_promised_ = std::exchange(other.num_promised_, 0);
  return *this;
}

void BlockTable::ExtendTo(int num_blocks) {
  const int num_unpromised = num_blocks - this->num_blocks() - num_promised_;
  CHECK(num_unpromised <= 0 && "admission reserves a sequence's worst case (capacity.h): to promise less, preempt");
  while (this->num_blocks() < num_blocks) {
    blocks_.push_back(pool_->TakePromised());
    --num_promised_;
  }
}

void BlockTable::Release() {
  if (pool_ == nullptr) return;
  pool_->Return(*this);
  pool_ = nullptr;
  blocks_.clear();
  num_promised_ = 0;
}

BlockPool::BlockPool(const BlockPoolOptions& options)
    : references_(static_cast<size_t>(options.num_blocks)),
      shuffle_(options.shuffle_seed != 0),
      random_(options.shuffle_seed) {
  CHECK_GE(options.num_blocks, 2);
  free_.reserve(references_.size());
  for (BlockId block = options.num_blocks - 1; block > kScratchBlock; --block) free_.push_back(block);
}

BlockPool::~BlockPool() {
  CHECK_EQ(num_free(), num_usable());
  CHECK_EQ(num_promised_, 0);
}

std::optional<BlockTable> BlockPool::Reserve(const BlockReservation& reservation) {
  CHECK_GE(reservation.num_new, 0);
  if (reservation.num_new > num_free() - num_promised_) return std::nullopt;
  BlockTable table;
  table.pool_ = this;
  table.blocks_.reserve(reservation.shared.size() + static_cast<size_t>(reservation.num_new));
  table.blocks_.assign(reservation.shared.begin(), reservation.shared.end());
  for (BlockId block : table.blocks_) {
    int& references = references_[static_cast<size_t>(block)];
    CHECK_GT(references, 0);
    ++references;
  }
  table.num_promised_ = reservation.num_new;
  num_promised_ += reservation.num_new;
  return table;
}

BlockId BlockPool::TakePromised() {
  CHECK_GT(num_promised_, 0);
  CHECK(!free_.empty());
  if (shuffle_) std::swap(free_[random_() % free_.size()], free_.back());
  const BlockId block = free_.back();
  free_.pop_back();
  --num_promised_;
  CHECK_EQ(std::exchange(references_[static_cast<size_t>(block)], 1), 0);
  return block;
}

void BlockPool::Return(const BlockTable& table) {
  num_promised_ -= table.num_promised_;
  CHECK_GE(num_promised_, 0);
  for (BlockId block : table.blocks_) {
    int& references = references_[static_cast<size_t>(block)];
    CHECK_GT(references, 0);
    if (--references == 0) free_.push_back(block);
  }
}

}  // namespace latentd
