#include "server/events/kv_replays.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "server/events/kv_event_payload.h"

namespace latentd {
namespace {

constexpr size_t kMostAtOnce = 256;    // events that are copied under the stream's lock
constexpr size_t kMostInMessage = 64;  // of a snapshot
constexpr size_t kMostWaiting = 64;    // for one snapshot

}  // namespace

// What the engine's listener may still use when the replays are gone.
struct KvReplays::Arrival {
  explicit Arrival(std::shared_ptr<const WakeFlag> flag) : wake(std::move(flag)) {}

  const std::shared_ptr<const WakeFlag> wake;
  std::mutex mutex;
  std::vector<KvEvent> snapshot;  // guarded by mutex; empty: none has come
};

KvReplays::KvReplays(const ZmqSocket& router, KvEventSource source, std::shared_ptr<const WakeFlag> wake,
                     Metrics& metrics)
    : router_(router),
      source_(std::move(source)),
      metrics_(metrics),
      arrival_(std::make_shared<Arrival>(std::move(wake))) {}

void KvReplays::Answer() {
  Envelope envelope = router_.Receive();
  if (envelope.empty()) return;
  const std::string asked = std::move(envelope.back());
  envelope.pop_back();
  const bool is_envelope = envelope.size() == 1 || (envelope.size() == 2 && envelope[1].empty());
  if (!is_envelope || asked.size() != sizeof(uint64_t)) return Count(KvReplay::kMalformed);
  uint64_t from = 0;
  for (const char byte : asked) from = from << 8 | static_cast<unsigned char>(byte);
  if (source_.stream.Holds(source_.stream.BeginFor(from))) return Count(Send(envelope, from));
  if (waiting_.size() == kMostWaiting) return Count(KvReplay::kUnread);
  waiting_.push_back(std::move(envelope));
  ServeWaiting();
}

void KvReplays::ServeWaiting() {
  {
    const std::scoped_lock lock(arrival_->mutex);
    if (!arrival_->snapshot.empty()) {
      snapshot_ = std::exchange(arrival_->snapshot, {});
      is_asked_ = false;
    }
  }
  if (waiting_.empty() || is_asked_) return;
  if (!snapshot_.empty() && source_.stream.Holds(snapshot_.back().number + 1)) {
    for (const Envelope& envelope : std::exchange(waiting_, {})) Count(SendSnapshot(envelope));
    return;
  }
  is_asked_ = true;
  source_.snapshot([arrival = arrival_](std::vector<KvEvent> snapshot) {
    const std::scoped_lock lock(arrival->mutex);
    arrival->snapshot = std::move(snapshot);
    arrival->wake->Raise();
  });
}

KvReplay KvReplays::Send(const Envelope& envelope, uint64_t from) const {
  KvEventReader reader(source_.stream, from, [] {});
  for (std::vector<KvEvent> events = reader.Take(kMostAtOnce); !events.empty(); events = reader.Take(kMostAtOnce)) {
    for (const KvEvent& event : events) {
      if (!SendOne(envelope, event.number, PayloadNow({&event, 1}))) return KvReplay::kUnread;
    }
  }
  return SendOne(envelope, kEndOfReplay, "") ? KvReplay::kWhole : KvReplay::kUnread;
}

KvReplay KvReplays::SendSnapshot(const Envelope& envelope) const {
  for (std::span<const KvEvent> left = snapshot_; !left.empty();) {
    const std::span<const KvEvent> next = left.first(std::min(left.size(), kMostInMessage));
    if (!SendOne(envelope, next.back().number, PayloadNow(next))) return KvReplay::kUnread;
    left = left.subspan(next.size());
  }
  const KvReplay rest = Send(envelope, snapshot_.back().number + 1);
  return rest == KvReplay::kWhole ? KvReplay::kSnapshot : rest;
}

bool KvReplays::SendOne(const Envelope& envelope, uint64_t number, std::string payload) const {
  Envelope parts = envelope;
  parts.push_back(NumberBytes(number));
  parts.push_back(std::move(payload));
  return router_.Send(parts);
}

void KvReplays::Count(KvReplay outcome) {
  metrics_.Update([outcome](MetricsData& data) { ++data.kv_replays[static_cast<size_t>(outcome)]; });
}

}  // namespace latentd
