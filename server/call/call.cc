#include "server/call/call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/interruption.h"
#include "base/now.h"
#include "server/api/status.h"

namespace latentd {
namespace {

// For the transport to tell that a client reset its stream, also where its threads wait for their turn. Only a client
// that sent no message waits for it.
constexpr std::chrono::milliseconds kUntilToldOfLeaving{1000};

}  // namespace

Call::Call(CallStart start, const CallParts& parts)
    : wire_(start.wire),
      parts_(parts),
      pump_(*this, wire_, parts.egress.patience(),
            {.soon = [this] { parts_.egress.Wake(slot_); },
             .by = [this](TimePoint when) { parts_.egress.WakeAt(slot_, when); }}),
      received_(Now()),
      deadline_(start.deadline),
      record_(std::move(start.origin), parts.metrics, start.method, parts.spans) {
  slot_.pump = [this] { PumpSlot(); };
  slot_.release = [this] { wire_.Release(); };
  parts_.egress.Attach(slot_);
  place_.peer = record_.peer();
  place_.wake = [this] { parts_.egress.Wake(slot_); };
}

void Call::Receive() { Attend(parts_.intake.Arrive(place_, Now())); }

Call::Stage Call::stage() const {
  std::lock_guard lock(mutex_);
  return stage_;
}

bool Call::MoveOn(Stage from, Stage to) {
  std::lock_guard lock(mutex_);
  if (stage_ != from) return false;
  stage_ = to;
  return true;
}

void Call::PumpSlot() {
  switch (stage()) {
    case Stage::kArriving:
    case Stage::kReceiving:
      if (empty_since_.load() != kNever) return RefuseEmpty();
      return Attend(parts_.intake.Look(place_, Now()));
    case Stage::kQueued:
    case Stage::kHandling:
      return;
    case Stage::kAnswering:
      return pump_.is_writing_whole() ? pump_.GiveUpWhole(Now()) : Pump();
    case Stage::kOver:
      return pump_.ResetIfDue(Now());
  }
}

// ---------------------------------------------------------------------------------------------------------- the way in

void Call::Attend(Intake::Standing standing) {
  switch (standing) {
    case Intake::Standing::kReceiving:
      if (MoveOn(Stage::kArriving, Stage::kReceiving)) wire_.Read();
      [[fallthrough]];
    case Intake::Standing::kWaiting:
      return parts_.egress.WakeAt(slot_, parts_.intake.next_look(place_, Now()));
    case Intake::Standing::kOverdue:
      return RefuseUnreceived(SlowSender());
    case Intake::Standing::kNoRoom:
      return RefuseUnreceived(IntakeFull());
    case Intake::Standing::kClosed:
      return RefuseUnreceived(Draining());
    case Intake::Standing::kReceived:
    case Intake::Standing::kOutside:
      return;  // it moved on meanwhile
  }
}

void Call::Received(size_t num_bytes) {
  parts_.intake.Received(place_, num_bytes, Now());
  Enqueue(num_bytes);
}

void Call::ReceivedNothing() {
  if (stage() != Stage::kReceiving) return;  // it ended before
  empty_since_ = Now();
  parts_.egress.Wake(slot_);
}

// A transport may throw the message of a client that left away, and tell of that before it tells of the client.
void Call::RefuseEmpty() {
  const TimePoint since = empty_since_.load();
  if (wire_.IsCancelled() || IsExpired(since, deadline_)) {
    left_at_ = since;
    has_left_ = true;
  } else if (Now() < since + kUntilToldOfLeaving) {
    return parts_.egress.WakeAt(slot_, since + kUntilToldOfLeaving);
  }
  RefuseUnreceived(InvalidField("", "expected one whole message, found none"));
}

void Call::Enqueue(size_t num_bytes) {
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::kReceiving) return;
  ticket_ = parts_.pool.Submit({.peer = place_.peer,
                                .num_bytes = num_bytes,
                                .run = [this] { Work(); },
                                .displaced = [this] { Refuse(IntakeFull()); }});
  const bool has_place = ticket_.has_value();
  if (has_place) stage_ = Stage::kQueued;
  lock.unlock();
  if (!has_place) RefuseUnreceived(IntakeFull());
}

// ---------------------------------------------------------------------------------------------------- on the work pool

void Call::Work() {
  {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kQueued) return;
    stage_ = Stage::kHandling;
    is_working_ = true;
  }
  HandleMessage();
  wire_.DropMessage();
  parts_.intake.Leave(place_, Now());
  const bool needs_turn = !pump_.is_writing_whole();
  std::unique_lock lock(mutex_);
  const bool is_answering = stage_ == Stage::kHandling;
  if (is_answering) stage_ = Stage::kAnswering;
  const bool has_left = is_answering && has_left_;
  lock.unlock();
  if (has_left && needs_turn) pump_.Break();
  if (is_answering && (needs_turn || pump_.is_displaced())) parts_.egress.Wake(slot_);
  lock.lock();
  is_working_ = false;
  if (!is_done_) return;
  lock.unlock();
  Depart();
}

void Call::HandleMessage() {
  if (has_left_) return Refuse(StatusOf(AnswerFate::kLeft));
  const absl::StatusOr<MessageBytes> message = wire_.Unpack();
  if (!message.ok()) return Refuse(message.status());
  const Interruptible interruptible(has_left_);
  Handle(*message);
}

// --------------------------------------------------------------------------------------------------------- the way out

void Call::Pump() { pump_.Pump(Now()); }

absl::Status Call::ReserveAnswer(size_t num_bytes, std::string_view fields) {
  const absl::StatusOr<size_t> accepted = wire_.AcceptedAnswerBytes();
  if (!accepted.ok()) return accepted.status();
  const size_t limit = std::min(*accepted, parts_.answers.max_bytes_of_peer());
  if (num_bytes > limit) return AnswerTooLarge(fields, num_bytes, limit);
  ByteBudget::Share share;
  if (!parts_.answers.TryTake(place_.peer, num_bytes, &share, Now())) return AnswersFull();
  answer_share_ = std::move(share);
  return absl::OkStatus();
}

void Call::Answer(std::string message) {
  if (message.size() > answer_share_.num_bytes()) {
    answer_share_ = {};
    if (absl::Status status = ReserveAnswer(message.size(), "the answer"); !status.ok()) return Refuse(status);
  }
  answer_share_.Resize(message.size());
  answer_share_.OfferTo(Now(), [this] { pump_.Displace(); });
  pump_.WriteWhole(std::move(message), Now());
}

void Call::WriteFailed() {
  if (left_at_.load() == kNever) left_at_ = Now();
  pump_.WriteFailed();
}

void Call::Ended(AnswerFate fate, size_t unread_bytes) { End(StatusOf(fate, unread_bytes)); }

// ------------------------------------------------------------------------------------------------------------- the end

void Call::Left() {
  left_at_ = Now();
  has_left_ = true;
  std::unique_lock lock(mutex_);
  const Stage stage = stage_;
  const std::optional<WorkPool::Ticket> ticket = ticket_;
  lock.unlock();
  switch (stage) {
    case Stage::kArriving:
    case Stage::kReceiving:
      return RefuseUnreceived(
          StatusOf(AnswerFate::kLeft));  // else the message came, and Work sees that the client left
    case Stage::kQueued:
      // Else its turn came, and Work sees that the client left.
      if (parts_.pool.Withdraw(*ticket)) Refuse(StatusOf(AnswerFate::kLeft));
      return;
    case Stage::kAnswering:
      return pump_.Break();
    case Stage::kHandling:
    case Stage::kOver:
      return;
  }
}

CallEnd Call::EndWith(AnswerFate fate) const {
  return {
      .fate = fate, .deadline_passed = IsExpired(left_at_, deadline_), .is_cut_short = parts_.egress.is_cut_short()};
}

absl::Status Call::StatusOf(AnswerFate fate, size_t unread_bytes) const {
  const StreamEnd no_run = {};
  return StatusOfRun(FinalCause(EndWith(fate)), {.end = no_run, .unread_bytes = unread_bytes});
}

void Call::Refuse(absl::Status status) {
  if (has_left_) status = StatusOf(AnswerFate::kLeft);
  End(status);
}

void Call::RefuseUnreceived(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kArriving && stage_ != Stage::kReceiving) return;
    stage_ = Stage::kOver;
  }
  Conclude(has_left_ ? StatusOf(AnswerFate::kLeft) : status);
}

void Call::End(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ == Stage::kOver) return;
    stage_ = Stage::kOver;
  }
  Conclude(status);
}

void Call::Conclude(const absl::Status& status) {
  Count(status);
  pump_.Finish(status, Now());
}

void Call::Done() {
  pump_.Close();
  {
    std::lock_guard lock(mutex_);
    is_done_ = true;
    if (is_working_) return;  // the pool's thread departs
  }
  Depart();
}

void Call::Depart() {
  Detach();
  parts_.intake.Leave(place_, Now());
  answer_share_ = {};
  parts_.egress.Done(slot_);
}

}  // namespace latentd
