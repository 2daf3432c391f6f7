#include "engine/schedule/waiting_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace latentd {

WaitingQueue::WaitingQueue(const Tenants& tenants, Duration ageing) : tenants_(tenants), ageing_(ageing) {
  CHECK(ageing > Duration::zero());
}

WaitingQueue::Entry WaitingQueue::EntryAt(TimePoint at, Standing& standing) {
  return {.at = at,
          .virtual_start = standing.virtual_start,
          .arrival = standing.arrival,
          .index = standing.index,
          .standing = &standing};
}

// Virtual starts do not tell two apart that ageing raised.
WaitingQueue::Entry WaitingQueue::AgeOf(Standing& standing) {
  Entry entry = EntryAt(standing.received, standing);
  entry.virtual_start = {};
  return entry;
}

void WaitingQueue::Add(Standing& standing) {
  RestartIfIdle(*standing.tenant);
  Line& line = lines_[{.tenant = standing.tenant->number, .priority = standing.priority}];
  line.tenant = standing.tenant;
  const bool is_new = line.by_age.insert(AgeOf(standing)).second;
  CHECK(is_new && "it waits already");
  line.by_virtual_start.insert(EntryAt(standing.virtual_start, standing));
  if (standing.latest_start != kTooLate) line.by_latest_start.insert(EntryAt(standing.latest_start, standing));
  ++sizes_[PlaceOf(standing.priority)];
  ++size_;
}

void WaitingQueue::Remove(Standing& standing) {
  const auto place = lines_.find({.tenant = standing.tenant->number, .priority = standing.priority});
  CHECK(place != lines_.end());
  Line& line = place->second;
  CHECK_EQ(line.by_age.erase(AgeOf(standing)), 1u);
  CHECK_EQ(line.by_virtual_start.erase(EntryAt(standing.virtual_start, standing)), 1u);
  line.by_latest_start.erase(EntryAt(standing.latest_start, standing));
  if (line.by_age.empty()) lines_.erase(place);
  --sizes_[PlaceOf(standing.priority)];
  --size_;
}

// Walks lines, where a tenant begins to wait.
void WaitingQueue::RestartIfIdle(Tenant& tenant) {
  const auto own = lines_.lower_bound({.tenant = tenant.number, .priority = kLowestPriority});
  if (own != lines_.end() && own->first.tenant == tenant.number) return;
  double least = lines_.empty() ? tenants_.greatest_service() : std::numeric_limits<double>::max();
  for (const auto& [key, line] : lines_) least = std::min(least, line.tenant->service);
  tenant.service = std::max(tenant.service, least);
}

Standing& WaitingQueue::FirstOf(Line& line, const RankingMoment& moment) {
  Standing& oldest = *line.by_age.begin()->standing;
  if (ClassOf(oldest, moment) > oldest.priority) return oldest;
  while (!line.by_latest_start.empty() && line.by_latest_start.begin()->at < moment.now) {
    line.by_latest_start.erase(line.by_latest_start.begin());
  }
  const bool has_urgent =
      !line.by_latest_start.empty() && IsUrgent(*line.by_latest_start.begin()->standing, moment.now);
  const Entries& first = has_urgent ? line.by_latest_start : line.by_virtual_start;
  return *first.begin()->standing;
}

Standing* WaitingQueue::FirstAbove(int priority, TimePoint now) {
  const RankingMoment moment = MomentAt(now);
  if (moment.highest_priority <= priority) return nullptr;
  Standing* first = nullptr;
  for (auto& [key, line] : lines_) {
    if (key.priority <= priority) continue;
    Standing& candidate = FirstOf(line, moment);
    if (first == nullptr || RanksBefore(candidate, *first, moment)) first = &candidate;
  }
  return first;
}

RankingMoment WaitingQueue::MomentAt(TimePoint now) const {
  return {.now = now, .ageing = ageing_, .highest_priority = highest_priority()};
}

int WaitingQueue::highest_priority() const {
  for (int priority = kHighestPriority; priority > kLowestPriority; --priority) {
    if (size_of(priority) > 0) return priority;
  }
  return kLowestPriority;
}

}  // namespace latentd
