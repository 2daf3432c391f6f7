// When each sequence expires, the first one at hand. Nothing is allocated once a sequence is in it. Owned by the
// Scheduler; engine thread only.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>

#include "base/clock.h"

namespace latentd {

struct Sequence;

class Expiries {
 public:
  // Ordered by time, then by arrival, which no two have.
  struct Entry {
    TimePoint at;
    uint64_t arrival;
    Sequence* sequence;
    bool operator<(const Entry& other) const { return std::tie(at, arrival) < std::tie(other.at, other.arrival); }
  };
  using Place = std::set<Entry>::iterator;  // valid until Remove

  Place Add(Sequence& sequence, uint64_t arrival, TimePoint at) { return all_.insert({at, arrival, &sequence}).first; }
  Place Move(Place place, TimePoint at) {
    if (place->at == at) return place;
    auto node = all_.extract(place);
    node.value().at = at;
    return all_.insert(std::move(node)).position;
  }
  void Remove(Place place) { all_.erase(place); }

  TimePoint next() const { return all_.empty() ? kNever : all_.begin()->at; }
  // Nothing if it does not expire by then.
  Sequence* FirstBy(TimePoint now) const {
    return all_.empty() || all_.begin()->at > now ? nullptr : all_.begin()->sequence;
  }

 private:
  std::set<Entry> all_;
};

}  // namespace latentd
