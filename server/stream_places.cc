#include "server/stream_places.h"

#include <algorithm>
#include <map>
#include <string>

namespace latentd {

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
    if (other->peer_.address != holder.peer_.address) continue;
    ++standing.of_address;
    if (other->peer_.connection == holder.peer_.connection) ++standing.of_connection;
  }
  return standing;
}

StreamPlaces::Holder* StreamPlaces::FindVictim(const Holder& newcomer) const {
  std::map<std::string, Standing> standings;  // by connection
  for (const Holder* holder : holders_) {
    if (!standings.contains(holder->peer_.connection)) standings[holder->peer_.connection] = StandingOf(*holder);
  }
  const auto has_less = [&standings](const Holder* a, const Holder* b) {
    return standings.at(a->peer_.connection) < standings.at(b->peer_.connection);
  };
  Holder* const victim = *std::max_element(holders_.begin(), holders_.end(), has_less);
  const Standing most = standings.at(victim->peer_.connection), own = StandingOf(newcomer);
  const bool is_neighbour = victim->peer_.address == newcomer.peer_.address;
  const bool has_more =
      is_neighbour ? most.of_connection > own.of_connection + 1 : most.of_address > own.of_address + 1;
  return has_more ? victim : nullptr;
}

}  // namespace latentd
