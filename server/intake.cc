#include "server/intake.h"

#include <algorithm>

#include "kernels/check.h"

namespace latentd {
namespace {

IntakeOptions WithRoomForTwo(IntakeOptions options) {
  options.max_bytes = std::max(options.max_bytes, 2 * options.message_bytes);
  return options;
}

}  // namespace

Intake::Intake(const IntakeOptions& options, std::atomic<int64_t>* held)
    : options_(WithRoomForTwo(options)), budget_(options_.max_bytes, held) {}

Intake::Standing Intake::Arrive(Place& place, TimePoint now) {
  std::lock_guard lock(mutex_);
  CHECK(place.standing == Standing::kOutside);
  if (waiting_.size_of(place.peer) == 0 && HasRoomFor(place.peer)) {
    Begin(place, now);
  } else if (waiting_.size() >= options_.max_waiting && !DisplaceFor(place)) {
    place.standing = Standing::kNoRoom;
  } else {
    place.standing = Standing::kWaiting;
    place.since = now;
    waiting_.Push(place.peer, &place);
    MakeRoomFor(place, now);
  }
  return place.standing;
}

Intake::Standing Intake::Look(Place& place, TimePoint now) {
  std::lock_guard lock(mutex_);
  const bool is_late = now - place.since >= options_.patience;
  if (place.standing == Standing::kWaiting) {
    if (is_late) {
      waiting_.Remove(place.peer, [&place](const Place* other) { return other == &place; });
      place.standing = Standing::kNoRoom;
    } else {
      MakeRoomFor(place, now);
    }
  } else if (place.standing == Standing::kReceiving && is_late) {
    EndReceiving(place);
    place.standing = Standing::kOverdue;
  }
  return place.standing;
}

TimePoint Intake::next_look(const Place& place) const {
  std::lock_guard lock(mutex_);
  return place.since +
         (place.standing == Standing::kWaiting ? std::min(options_.grace, options_.patience) : options_.patience);
}

void Intake::Received(Place& place, size_t num_bytes, TimePoint now) {
  std::lock_guard lock(mutex_);
  if (place.standing != Standing::kReceiving) return;  // told to go at the last moment: it does
  EndReceiving(place);
  place.standing = Standing::kReceived;
  place.share.Resize(num_bytes);
  GrantTurns(now);
}

void Intake::Leave(Place& place, TimePoint now) {
  std::lock_guard lock(mutex_);
  if (place.standing == Standing::kOutside) return;
  if (place.standing == Standing::kWaiting) {
    waiting_.Remove(place.peer, [&place](const Place* other) { return other == &place; });
  }
  if (place.standing == Standing::kReceiving) EndReceiving(place);
  if (place.makes_room) --num_going_;
  place.makes_room = false;
  place.standing = Standing::kOutside;
  place.share = {};
  GrantTurns(now);
}

void Intake::Close() {
  std::lock_guard lock(mutex_);
  while (const std::optional<Place*> place = waiting_.Pop()) {
    (*place)->standing = Standing::kClosed;
    (*place)->wake();
  }
  while (!receiving_.empty()) {
    Place& place = *receiving_.front();
    EndReceiving(place);
    place.standing = Standing::kClosed;
    place.wake();
  }
}

size_t Intake::num_waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

void Intake::Begin(Place& place, TimePoint now) {
  place.standing = Standing::kReceiving;
  place.since = now;
  CHECK(budget_.TryTake(place.peer, options_.message_bytes, &place.share));
  ++receiving_of_[place.peer];
  receiving_.push_back(&place);
}

void Intake::EndReceiving(Place& place) {
  receiving_.remove(&place);
  if (const auto of_peer = receiving_of_.find(place.peer); --of_peer->second == 0) receiving_of_.erase(of_peer);
}

void Intake::GrantTurns(TimePoint now) {
  const auto may_go = [this](const std::string& peer, const Place*) { return HasRoomFor(peer); };
  while (const std::optional<Place*> place = waiting_.PopIf(may_go)) {
    Begin(**place, now);
    (*place)->wake();
  }
}

bool Intake::DisplaceFor(const Place& place) {
  const std::optional<Place*> displaced = waiting_.PopForRoom(place.peer);
  if (!displaced) return false;
  (*displaced)->standing = Standing::kNoRoom;
  (*displaced)->wake();
  return true;
}

// Where the peer itself has too much, one of its own goes.
void Intake::MakeRoomFor(const Place& place, TimePoint now) {
  if (num_going_ >= waiting_.size()) return;
  const bool is_full = !budget_.HasRoom(options_.message_bytes);
  Place* victim = nullptr;
  for (Place* candidate : receiving_) {
    if (now - candidate->since < options_.grace) break;  // and all behind it are younger
    if (!is_full && candidate->peer != place.peer) continue;
    if (victim == nullptr || receiving_of_[candidate->peer] > receiving_of_[victim->peer]) {
      victim = candidate;
    }
  }
  if (victim == nullptr) return;
  EndReceiving(*victim);
  victim->standing = Standing::kOverdue;
  victim->makes_room = true;
  ++num_going_;
  victim->wake();
}

}  // namespace latentd
