#include "server/call/byte_budget.h"

#include <algorithm>
#include <tuple>

namespace latentd {
namespace {

// The part of the budget that may be held beyond it for a moment, by shares that were told to go.
constexpr size_t kGoingShare = 4;

}  // namespace

ByteBudget::Share& ByteBudget::Share::operator=(Share&& other) noexcept {
  if (this == &other) return *this;
  Resize(0);
  budget_ = std::exchange(other.budget_, nullptr);
  peer_ = std::move(other.peer_);
  num_bytes_ = std::exchange(other.num_bytes_, 0);
  offer_ = std::exchange(other.offer_, std::nullopt);
  return *this;
}

void ByteBudget::Share::Resize(size_t num_bytes) {
  if (budget_ == nullptr || num_bytes == num_bytes_) return;
  std::lock_guard lock(budget_->mutex_);
  const bool is_going = offer_ && (*offer_)->make_room == nullptr;
  if (is_going) {
    budget_->going_ -= num_bytes_;
    budget_->accepted_.erase(*offer_);
  } else {
    if (offer_) budget_->offers_.erase(*offer_);
    budget_->Change(peer_, num_bytes_, num_bytes);
  }
  offer_.reset();
  num_bytes_ = num_bytes;
}

void ByteBudget::Share::OfferTo(TimePoint now, std::function<void()> make_room) {
  if (num_bytes_ == 0) return;
  std::lock_guard lock(budget_->mutex_);
  offer_ = budget_->offers_.insert(
      budget_->offers_.end(),
      {.peer = peer_, .num_bytes = num_bytes_, .since = now, .make_room = std::move(make_room)});
}

bool ByteBudget::TryTake(const Peer& peer, size_t num_bytes, Share* share, TimePoint now) {
  {
    std::lock_guard lock(mutex_);
    if (!MakeRoom(peer, num_bytes, now)) return false;
    Change(peer, 0, num_bytes);
  }
  *share = Share(this, peer, num_bytes);
  return true;
}

bool ByteBudget::HasRoom(const Peer& peer, size_t num_bytes) const {
  std::lock_guard lock(mutex_);
  return FitsInAll(num_bytes) && FitsInHalf(peer, num_bytes);
}

bool ByteBudget::HasRoom(size_t num_bytes) const {
  std::lock_guard lock(mutex_);
  return FitsInAll(num_bytes);
}

bool ByteBudget::FitsInAll(size_t num_bytes) const {
  const bool is_small = num_bytes <= options_.small_bytes;
  return taken_ + num_bytes <= options_.max_bytes - (is_small ? 0 : options_.reserved_bytes);
}

bool ByteBudget::FitsInHalf(const Peer& peer, size_t num_bytes) const {
  const bool is_small = num_bytes <= options_.small_bytes;
  return Find(by_connection_, peer.connection) + num_bytes <=
         max_bytes_of_peer() + (is_small ? options_.reserved_bytes / 2 : 0);
}

size_t ByteBudget::Find(const Held& held, const std::string& name) {
  const auto found = held.find(name);
  return found == held.end() ? 0 : found->second;
}

size_t ByteBudget::taken_bytes() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

void ByteBudget::Change(const Peer& peer, size_t from, size_t to) {
  taken_ += to - from;
  if (held_ != nullptr) held_->store(static_cast<int64_t>(taken_), std::memory_order_relaxed);
  for (const auto& [held, name] : {std::tie(by_address_, peer.address), std::tie(by_connection_, peer.connection)}) {
    size_t& num_bytes = held[name];
    num_bytes += to - from;
    if (num_bytes == 0) held.erase(name);
  }
}

bool ByteBudget::MakeRoom(const Peer& peer, size_t num_bytes, TimePoint now) {
  while (!FitsInAll(num_bytes) || !FitsInHalf(peer, num_bytes)) {
    const std::optional<Offers::iterator> offer = FindOffer(peer, num_bytes);
    if (!offer || !IsDue(**offer, peer, now)) return false;
    Accept(*offer);
  }
  return true;
}

std::optional<ByteBudget::Offers::iterator> ByteBudget::FindOffer(const Peer& peer, size_t num_bytes) {
  const auto holding = [this](const Peer& of) {
    return Holding{Find(by_address_, of.address), Find(by_connection_, of.connection)};
  };
  const bool is_connection_full = !FitsInHalf(peer, num_bytes);
  auto most = offers_.end();
  for (auto offer = offers_.begin(); offer != offers_.end(); ++offer) {
    if (is_connection_full && offer->peer.connection != peer.connection) continue;
    if (most == offers_.end() || holding(offer->peer) > holding(most->peer)) most = offer;
  }
  if (most == offers_.end()) return std::nullopt;
  const bool gives_way = GivesWay({most->peer, holding(most->peer)}, {peer, holding(peer)}, num_bytes);
  return is_connection_full || gives_way ? std::optional(most) : std::nullopt;
}

bool ByteBudget::IsDue(const Offer& offer, const Peer& peer, TimePoint now) const {
  if (going_ > 0 && going_ + offer.num_bytes > options_.max_bytes / kGoingShare) return false;
  const bool is_own = offer.peer.address == peer.address;
  const size_t part = options_.max_bytes / (by_address_.size() + 1);
  return now - offer.since >= options_.grace || (!is_own && Find(by_address_, offer.peer.address) > part);
}

void ByteBudget::Accept(Offers::iterator offer) {
  accepted_.splice(accepted_.end(), offers_, offer);
  going_ += offer->num_bytes;
  std::exchange(offer->make_room, nullptr)();
  Change(offer->peer, offer->num_bytes, 0);
}

}  // namespace latentd
