#include "server/call/answer_pump.h"

#include <utility>

namespace latentd {

AnswerPump::AnswerPump(AnswerSource& source, Wire& wire, Duration patience, PumpTurns turns)
    : source_(source), wire_(wire), patience_(patience), turns_(std::move(turns)) {}

// ------------------------------------------------------------------------------------------------- message by message

void AnswerPump::Pump(TimePoint now) {
  using WireState = AnswerSource::WireState;
  const bool is_writing = AskForTurnAfterWrite();
  const WireState wire = is_writing || !messages_.empty() ? WireState::kBusy : WireState::kFree;
  const AnswerSource::Supply supply = source_.Fill(wire, now, messages_);
  if (supply.next != kNever) turns_.by(supply.next);
  const bool is_broken = is_broken_;
  if (is_broken) messages_.clear();
  if (supply.is_complete && is_broken) return End(AnswerFate::kLeft);
  if (supply.is_complete && supply.ends_at_once) return End(AnswerFate::kTakenWhole);
  if (is_writing) {
    if (supply.is_complete || supply.limits_writes) GiveUpIfStuck(now);
  } else if (!messages_.empty()) {
    WriteNext(supply, now);
  } else if (supply.is_complete) {
    End(AnswerFate::kTakenWhole);
  }
}

bool AnswerPump::AskForTurnAfterWrite() {
  WriteState busy = WriteState::kBusy;
  return write_.compare_exchange_strong(busy, WriteState::kBusyAndTurnWanted) || busy == WriteState::kBusyAndTurnWanted;
}

void AnswerPump::WriteNext(const AnswerSource::Supply& supply, TimePoint now) {
  std::string message = std::move(messages_.front());
  messages_.erase(messages_.begin());
  const bool goes_on = !messages_.empty() || supply.may_have_more || supply.is_complete;
  Wire::Next next = Wire::Next::kOpen;
  if (!messages_.empty()) {
    next = Wire::Next::kMessage;
  } else if (supply.is_complete) {
    next = Wire::Next::kEnd;
  }
  written_bytes_ = message.size();
  write_ = goes_on ? WriteState::kBusyAndTurnWanted : WriteState::kBusy;
  stuck_since_ = kNever;
  if (supply.is_complete || supply.limits_writes) LimitWrite(now);
  wire_.Write(std::move(message), next);
}

void AnswerPump::LimitWrite(TimePoint now) {
  stuck_since_ = now;
  turns_.by(now + patience_);
}

void AnswerPump::GiveUpIfStuck(TimePoint now) {
  if (stuck_since_ == kNever) return LimitWrite(now);  // it was begun before the source was complete
  if (now >= stuck_since_ + patience_) return End(AnswerFate::kStuck);
  turns_.by(stuck_since_ + patience_);  // the source may have asked for another time
}

size_t AnswerPump::UnreadBytes() const {
  size_t num_bytes = write_ == WriteState::kIdle ? 0 : written_bytes_.load();
  for (const std::string& message : messages_) num_bytes += message.size();
  return num_bytes;
}

void AnswerPump::End(AnswerFate fate) {
  const size_t unread_bytes = UnreadBytes();
  messages_.clear();
  source_.Ended(fate, unread_bytes);
}

// --------------------------------------------------------------------------------------------------- the only message

void AnswerPump::WriteWhole(std::string message, TimePoint now) {
  const TimePoint due = now + patience_;
  written_bytes_ = message.size();
  has_whole_ = true;
  turns_.by(due);  // before the write, whose end sets a time of its own
  wire_.Write(std::move(message), Wire::Next::kEnd);
  whole_due_ = due;  // not before: nothing may end the call between this and the write
  if (is_displaced_) turns_.soon();
}

void AnswerPump::GiveUpWhole(TimePoint now) {
  const TimePoint due = whole_due_;
  if (is_displaced_) return source_.Ended(AnswerFate::kDisplaced, written_bytes_);
  if (now < due) return turns_.by(due);  // the turn was one of an earlier stage
  source_.Ended(AnswerFate::kStuck, written_bytes_);
}

void AnswerPump::Displace() {
  is_displaced_ = true;
  turns_.soon();
}

// ------------------------------------------------------------------------------------------------- what the wire tells

void AnswerPump::Written() {
  if (has_whole_) return source_.Ended(AnswerFate::kTakenWhole, 0);
  // What becomes ready later has the pump pumped by itself.
  if (write_.exchange(WriteState::kIdle) == WriteState::kBusyAndTurnWanted) turns_.soon();
}

void AnswerPump::WriteFailed() {
  if (has_whole_) return source_.Ended(AnswerFate::kLeft, written_bytes_);
  is_broken_ = true;
  source_.WireBroke();
  write_ = WriteState::kIdle;
  turns_.soon();
}

void AnswerPump::Break() {
  is_broken_ = true;
  source_.WireBroke();
  if (is_writing_whole()) return source_.Ended(AnswerFate::kLeft, written_bytes_);  // last: the pump may go with it
  turns_.soon();
}

// ------------------------------------------------------------------------------------------------------------- the end

void AnswerPump::Finish(const absl::Status& status, TimePoint now) {
  const TimePoint due = is_displaced_ ? now : now + patience_;  // room is needed at once
  {
    std::lock_guard lock(mutex_);
    reset_due_ = due;
  }
  turns_.by(due);
  wire_.Finish(status);
}

void AnswerPump::ResetIfDue(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (reset_due_ == kNever || is_closed_) return;
  if (now < reset_due_) return turns_.by(reset_due_);  // the turn was one of an earlier stage
  reset_due_ = kNever;
  wire_.Reset();
}

void AnswerPump::Close() {
  std::lock_guard lock(mutex_);
  is_closed_ = true;
}

}  // namespace latentd
