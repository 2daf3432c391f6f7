#include "server/byte_budget.h"

namespace latentd {

ByteBudget::Share& ByteBudget::Share::operator=(Share&& other) noexcept {
  if (this == &other) return *this;
  Resize(0);
  budget_ = std::exchange(other.budget_, nullptr);
  peer_ = std::move(other.peer_);
  num_bytes_ = std::exchange(other.num_bytes_, 0);
  return *this;
}

void ByteBudget::Share::Resize(size_t num_bytes) {
  if (budget_ == nullptr || num_bytes == num_bytes_) return;
  std::lock_guard lock(budget_->mutex_);
  budget_->Change(peer_, num_bytes_, num_bytes);
  num_bytes_ = num_bytes;
}

bool ByteBudget::TryTake(const std::string& peer, size_t num_bytes, Share* share) {
  {
    std::lock_guard lock(mutex_);
    if (!Fits(peer, num_bytes)) return false;
    Change(peer, 0, num_bytes);
  }
  *share = Share(this, peer, num_bytes);
  return true;
}

bool ByteBudget::HasRoom(const std::string& peer, size_t num_bytes) const {
  std::lock_guard lock(mutex_);
  return Fits(peer, num_bytes);
}

bool ByteBudget::HasRoom(size_t num_bytes) const {
  std::lock_guard lock(mutex_);
  return taken_ + num_bytes <= max_bytes_;
}

bool ByteBudget::Fits(const std::string& peer, size_t num_bytes) const {
  const auto found = taken_by_.find(peer);
  const size_t of_peer = found == taken_by_.end() ? 0 : found->second;
  return taken_ + num_bytes <= max_bytes_ && of_peer + num_bytes <= max_bytes_of_peer();
}

size_t ByteBudget::taken_bytes() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

void ByteBudget::Change(const std::string& peer, size_t from, size_t to) {
  taken_ += to - from;
  if (held_ != nullptr) held_->store(static_cast<int64_t>(taken_), std::memory_order_relaxed);
  size_t& of_peer = taken_by_[peer];
  of_peer += to - from;
  if (of_peer == 0) taken_by_.erase(peer);
}

}  // namespace latentd
