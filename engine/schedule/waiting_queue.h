// Sequences that wait for a row, the first in the order of rank.h at hand: new ones, and those that were preempted,
// with the place that their request's arrival gives. Owned by the Scheduler; engine thread only.
//
// A line is what one tenant has of one priority. It keeps that in sets by latest start, by virtual start and by age, so
// that its first one is at hand at any moment; the queue's first is the best of the lines' first ones. Lines are few
// (Tenants bounds them) and looked at one by one; what stands in them is not walked. Services and time change ranks
// only between lines, or take what comes too late out of the first set, which happens when it gets to its front.
// Nothing is allocated but in Add.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/schedule/rank.h"
#include "engine/schedule/tenants.h"

namespace latentd {

class WaitingQueue {
 public:
  // `tenants` must outlive it.
  WaitingQueue(const Tenants& tenants, Duration ageing);

  // Its tenant's service is raised where it did not wait (tenants.h).
  void Add(Standing& standing);
  void Remove(Standing& standing);

  // The first of those whose priority, ageing not counted, is above the given one; nullptr where there is none. Time
  // does not go backwards.
  Standing* First(TimePoint now) { return FirstAbove(kLowestPriority - 1, now); }
  Standing* FirstAbove(int priority, TimePoint now);

  RankingMoment MomentAt(TimePoint now) const;
  int size() const { return size_; }
  int size_of(int priority) const { return sizes_[PlaceOf(priority)]; }
  // kLowestPriority where none waits.
  int highest_priority() const;

 private:
  // Ordered by time, then as RanksBefore orders what has that time.
  struct Entry {
    TimePoint at;
    TimePoint virtual_start;
    uint64_t arrival;
    int32_t index;
    Standing* standing;
    bool operator<(const Entry& other) const {
      return std::tie(at, virtual_start, arrival, index) <
             std::tie(other.at, other.virtual_start, other.arrival, other.index);
    }
  };
  using Entries = std::set<Entry>;

  struct Line {
    Tenant* tenant = nullptr;
    Entries by_latest_start;   // those that could be in time when they were looked at last
    Entries by_virtual_start;  // all
    Entries by_age;            // all
  };
  struct LineKey {
    uint64_t tenant;  // number
    int priority;
    auto operator<=>(const LineKey&) const = default;
  };

  static size_t PlaceOf(int priority) { return static_cast<size_t>(priority - kLowestPriority); }
  static Entry EntryAt(TimePoint at, Standing& standing);
  static Entry AgeOf(Standing& standing);
  static Standing& FirstOf(Line& line, const RankingMoment& moment);
  void RestartIfIdle(Tenant& tenant);

  const Tenants& tenants_;
  const Duration ageing_;
  std::map<LineKey, Line> lines_;  // none is empty
  std::array<int, kHighestPriority - kLowestPriority + 1> sizes_{};
  int size_ = 0;
};

}  // namespace latentd
