#include "engine/loop/kv_event_stream.h"

#include <utility>

namespace latentd {

void KvEventStream::Tell() {
  const uint64_t next = events_.next_number();
  if (next == next_to_tell_) return;
  next_to_tell_ = next;
  const std::scoped_lock lock(mutex_);
  for (const KvEventReader* reader : readers_) reader->wake_();
}

KvEventReader::KvEventReader(KvEventStream& stream, uint64_t from, std::function<void()> wake)
    : stream_(stream), wake_(std::move(wake)), next_(stream.BeginFor(from)) {
  const std::scoped_lock lock(stream_.mutex_);
  stream_.readers_.push_back(this);
}

KvEventReader::~KvEventReader() {
  const std::scoped_lock lock(stream_.mutex_);
  std::erase(stream_.readers_, this);
}

std::vector<KvEvent> KvEventReader::Take(size_t most) {
  std::vector<KvEvent> events = stream_.events_.From(next_, most);
  if (events.empty()) return events;
  const uint64_t first = events.front().number;
  if (first > next_) {
    num_missed_ += first - next_;
    KvEvent gap;
    gap.number = first - 1;
    events.insert(events.begin(), gap);
  }
  next_ = events.back().number + 1;
  return events;
}

}  // namespace latentd
