#include "engine/schedule/kv_snapshot.h"

#include "base/check.h"

namespace latentd {

std::vector<KvEvent> KvSnapshot(const Scheduler& scheduler) {
  std::vector<KvEvent> events;
  events.emplace_back().kind = KvEvent::Kind::kCleared;
  scheduler.cache().AppendStored(events);
  const uint64_t end = scheduler.kv_events().next_number();
  CHECK_LT(events.size(), end);
  for (size_t i = 0; i < events.size(); ++i) events[i].number = end - events.size() + i;
  return events;
}

}  // namespace latentd
