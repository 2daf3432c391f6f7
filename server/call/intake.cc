#include "server/call/intake.h"

#include <algorithm>

#include "base/check.h"

namespace latentd {
namespace {

// What a connection was seen to do is asked of the system at most so often.
constexpr std::chrono::milliseconds kBetweenLooks{5};

IntakeOptions WithRoomForTwo(IntakeOptions options) {
  options.max_bytes = std::max(options.max_bytes, 2 * options.message_bytes);
  options.reserved_bytes = std::min(options.reserved_bytes, options.max_bytes - 2 * options.message_bytes);
  return options;
}

ByteBudgetOptions BudgetOf(const IntakeOptions& options) {
  return {
      .max_bytes = options.max_bytes, .small_bytes = options.unread_bytes, .reserved_bytes = options.reserved_bytes};
}

}  // namespace

Intake::Intake(const IntakeOptions& options, std::atomic<int64_t>* held)
    : options_(WithRoomForTwo(options)), budget_(BudgetOf(options_), held) {}

Intake::Standing Intake::Arrive(Place& place, TimePoint now) {
  std::lock_guard lock(mutex_);
  CHECK(place.standing == Standing::kOutside);
  LookAtConnection(place, now);
  const bool is_first = waiting_.size_of(place.peer) == 0 || place.sending == Sending::kWhole;
  if (is_first && HasRoomFor(place)) {
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
      LookAtConnection(place, now);
      if (place.sending == Sending::kWhole && HasRoomFor(place)) {
        BeginOutOfTurn(place, now);
      } else {
        MakeRoomFor(place, now);
      }
    }
  } else if (place.standing == Standing::kReceiving && is_late) {
    EndReceiving(place);
    place.standing = Standing::kOverdue;
  }
  return place.standing;
}

// One that waits looks at once after it came, when the rest of its message is on its way, and then ever less often.
TimePoint Intake::next_look(const Place& place, TimePoint now) const {
  std::lock_guard lock(mutex_);
  if (place.standing != Standing::kWaiting) return place.since + options_.patience;
  const Duration longest = std::min(options_.grace, options_.patience);
  return now + std::clamp<Duration>(now - place.since, std::min<Duration>(kBetweenLooks, longest), longest);
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

size_t Intake::BytesOf(const Place& place) const {
  return place.sending == Sending::kWhole ? std::min(options_.unread_bytes, options_.message_bytes)
                                          : options_.message_bytes;
}

void Intake::LookAtConnection(Place& place, TimePoint now) {
  if (place.looked != TimePoint{} && now - place.looked < kBetweenLooks) return;
  place.looked = now;
  place.sending = options_.look(place.peer);
}

void Intake::Begin(Place& place, TimePoint now) {
  place.standing = Standing::kReceiving;
  place.since = now;
  CHECK(budget_.TryTake(place.peer, BytesOf(place), &place.share));
  ++receiving_of_address_[place.peer.address];
  ++receiving_of_connection_[place.peer.connection];
  receiving_.push_back(&place);
}

void Intake::BeginOutOfTurn(Place& place, TimePoint now) {
  waiting_.Remove(place.peer, [&place](const Place* other) { return other == &place; });
  Begin(place, now);
}

void Intake::EndReceiving(Place& place) {
  receiving_.remove(&place);
  const auto of_address = receiving_of_address_.find(place.peer.address);
  if (--of_address->second == 0) receiving_of_address_.erase(of_address);
  const auto of_connection = receiving_of_connection_.find(place.peer.connection);
  if (--of_connection->second == 0) receiving_of_connection_.erase(of_connection);
}

// First those who have begun to send.
void Intake::GrantTurns(TimePoint now) {
  const auto sends = [this](const Place* place) { return place->sending != Sending::kNothing && HasRoomFor(*place); };
  const auto may_go = [this](const Place* place) { return HasRoomFor(*place); };
  for (;;) {
    std::optional<Place*> place = waiting_.PopIf(sends);
    if (!place) place = waiting_.PopIf(may_go);
    if (!place) return;
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

// A place that sends nothing itself makes no other one go.
void Intake::MakeRoomFor(const Place& place, TimePoint now) {
  if (num_going_ >= waiting_.size() || place.sending == Sending::kNothing) return;
  Place* const slowest = FindSlowest(place, now);
  if (slowest == nullptr) return;
  EndReceiving(*slowest);
  slowest->standing = Standing::kOverdue;
  slowest->makes_room = true;
  ++num_going_;
  slowest->wake();
}

// Where the connection itself has too much, one of its own.
Intake::Place* Intake::FindSlowest(const Place& place, TimePoint now) {
  const auto holding = [this](const Place& of) {
    return Holding{receiving_of_address_[of.peer.address], receiving_of_connection_[of.peer.connection]};
  };
  const bool is_full = !budget_.HasRoom(BytesOf(place));
  Place* slowest = nullptr;
  for (Place* candidate : receiving_) {
    if (now - candidate->since < std::min(options_.grace, options_.silence)) break;  // and all behind it are younger
    if (!is_full && candidate->peer.connection != place.peer.connection) continue;
    if (slowest != nullptr && holding(*candidate) <= holding(*slowest)) continue;
    if (IsSlow(*candidate, now)) slowest = candidate;
  }
  return slowest;
}

// What is here and was not read yet is this process's own delay.
bool Intake::IsSlow(Place& place, TimePoint now) {
  LookAtConnection(place, now);
  if (place.sending == Sending::kWhole || place.sending == Sending::kUnread) return false;
  return now - place.since >= (place.sending == Sending::kNothing ? options_.silence : options_.grace);
}

}  // namespace latentd
