#include "server/stream_places.h"

#include <algorithm>
#include <map>
#include <utility>

namespace latentd {
namespace {

// "ipv4:127.0.0.1:1234" and "ipv6:[::1]:1234" without the port; all of a unix socket are one.
std::string AddressOf(const std::string& peer) {
  return peer.starts_with("ip") ? peer.substr(0, peer.rfind(':')) : peer.substr(0, peer.find(':'));
}

}  // namespace

StreamPlaces::Holder::Holder(std::string peer) : connection_(std::move(peer)), address_(AddressOf(connection_)) {}

bool StreamPlaces::Take(Holder& holder) {
  std::lock_guard lock(mutex_);
  if (holders_.size() >= count_) {
    Holder* victim = FindVictim(holder);
    if (victim == nullptr) return false;
    std::erase(holders_, victim);
    victim->MakeRoom();
  }
  holders_.push_back(&holder);
  return true;
}

void StreamPlaces::GiveBack(Holder& holder) {
  std::lock_guard lock(mutex_);
  std::erase(holders_, &holder);
}

StreamPlaces::Standing StreamPlaces::StandingOf(const Holder& holder) const {
  Standing standing;
  for (const Holder* other : holders_) {
    if (other->address_ != holder.address_) continue;
    ++standing.of_address;
    if (other->connection_ == holder.connection_) ++standing.of_connection;
  }
  return standing;
}

StreamPlaces::Holder* StreamPlaces::FindVictim(const Holder& newcomer) const {
  std::map<std::string, Standing> standings;  // by connection
  for (const Holder* holder : holders_) {
    if (!standings.contains(holder->connection_)) standings[holder->connection_] = StandingOf(*holder);
  }
  const auto has_less = [&standings](const Holder* a, const Holder* b) {
    return standings.at(a->connection_) < standings.at(b->connection_);
  };
  Holder* const victim = *std::max_element(holders_.begin(), holders_.end(), has_less);
  const Standing most = standings.at(victim->connection_), own = StandingOf(newcomer);
  const bool is_neighbour = victim->address_ == newcomer.address_;
  const bool has_more =
      is_neighbour ? most.of_connection > own.of_connection + 1 : most.of_address > own.of_address + 1;
  return has_more ? victim : nullptr;
}

}  // namespace latentd
