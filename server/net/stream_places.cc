#include "server/net/stream_places.h"

#include <algorithm>
#include <utility>

namespace latentd {
namespace {

size_t CountOf(const std::map<std::string, size_t>& counts, const std::string& name) {
  const auto found = counts.find(name);
  return found == counts.end() ? 0 : found->second;
}

}  // namespace

StreamPlaces::Holder::Holder(Peer peer) : peer_(std::move(peer)) {}

bool StreamPlaces::Take(Holder& holder) {
  std::lock_guard lock(mutex_);
  if (holders_.size() >= count_) {
    Holder* victim = FindVictim(holder);
    if (victim == nullptr) return false;
    Remove(*victim);
    victim->MakeRoom();
  }
  holder.of_address_ = &of_addresses_[holder.peer_.address];
  holder.of_connection_ = &of_connections_[holder.peer_.connection];
  ++*holder.of_address_;
  ++*holder.of_connection_;
  holders_.push_back(&holder);
  return true;
}

void StreamPlaces::GiveBack(Holder& holder) {
  std::lock_guard lock(mutex_);
  if (holder.of_address_ != nullptr) Remove(holder);
}

void StreamPlaces::Remove(Holder& holder) {
  holders_.remove(&holder);
  if (--*holder.of_address_ == 0) of_addresses_.erase(holder.peer_.address);
  if (--*holder.of_connection_ == 0) of_connections_.erase(holder.peer_.connection);
  holder.of_address_ = holder.of_connection_ = nullptr;
}

StreamPlaces::Holder* StreamPlaces::FindVictim(const Holder& newcomer) const {
  const auto holding = [](const Holder* holder) { return Holding{*holder->of_address_, *holder->of_connection_}; };
  const auto has_less = [&](const Holder* a, const Holder* b) { return holding(a) < holding(b); };
  Holder* const victim = *std::max_element(holders_.begin(), holders_.end(), has_less);
  const Holding own{CountOf(of_addresses_, newcomer.peer_.address),
                    CountOf(of_connections_, newcomer.peer_.connection)};
  return GivesWay({victim->peer_, holding(victim)}, {newcomer.peer_, own}, 1) ? victim : nullptr;
}

}  // namespace latentd
