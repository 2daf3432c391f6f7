#include "engine/schedule/kv_events.h"

#include <algorithm>

#include "base/check.h"

namespace latentd {
namespace {

constexpr size_t kSaltBytes = 192;  // a tenant's name and the longest salt; longer ones take memory when they come

}  // namespace

std::string JoinSalt(std::string_view tenant, std::string_view salt) {
  std::string joined(tenant);
  joined += '\0';
  joined += salt;
  return joined;
}

SaltParts PartsOfSalt(std::string_view joined) {
  const size_t end = joined.find('\0');
  if (end == std::string_view::npos) return {.tenant = {}, .salt = joined};
  return {.tenant = joined.substr(0, end), .salt = joined.substr(end + 1)};
}

KvEvents::KvEvents(size_t capacity) : events_(capacity) {
  CHECK_GT(capacity, 0u);
  for (KvEvent& event : events_) event.salt.reserve(kSaltBytes);
}

void KvEvents::Stored(const BlockHash& hash, const BlockHash& parent, std::span<const int32_t> token_ids) {
  const std::scoped_lock lock(mutex_);
  KvEvent& event = Next(KvEvent::Kind::kStored);
  event.hash = hash;
  event.parent = parent;
  std::copy(token_ids.begin(), token_ids.end(), event.token_ids.begin());
}

void KvEvents::StoredFirst(const BlockHash& hash, std::string_view salt, std::span<const int32_t> token_ids) {
  const std::scoped_lock lock(mutex_);
  KvEvent& event = Next(KvEvent::Kind::kStored);
  event.hash = hash;
  event.salt.assign(salt);
  std::copy(token_ids.begin(), token_ids.end(), event.token_ids.begin());
}

void KvEvents::Removed(const BlockHash& hash) {
  const std::scoped_lock lock(mutex_);
  Next(KvEvent::Kind::kRemoved).hash = hash;
}

void KvEvents::Cleared() {
  const std::scoped_lock lock(mutex_);
  Next(KvEvent::Kind::kCleared);
}

std::vector<KvEvent> KvEvents::From(uint64_t number, size_t most) const {
  const std::scoped_lock lock(mutex_);
  const uint64_t num_held = std::min<uint64_t>(next_number_ - 1, events_.size());
  number = std::clamp(number, next_number_ - num_held, next_number_);
  std::vector<KvEvent> found;
  found.reserve(std::min<size_t>(most, next_number_ - number));
  for (; number < next_number_ && found.size() < most; ++number) found.push_back(events_[number % events_.size()]);
  return found;
}

uint64_t KvEvents::next_number() const {
  const std::scoped_lock lock(mutex_);
  return next_number_;
}

bool KvEvents::Holds(uint64_t number) const {
  const std::scoped_lock lock(mutex_);
  return number <= next_number_ && next_number_ - number <= events_.size();
}

// In the oldest one's place, with nothing of it but its salt's memory.
KvEvent& KvEvents::Next(KvEvent::Kind kind) {
  KvEvent& event = events_[next_number_ % events_.size()];
  event.number = next_number_++;
  event.kind = kind;
  event.hash = {};
  event.parent.reset();
  event.salt.clear();
  event.token_ids.fill(0);
  return event;
}

}  // namespace latentd
