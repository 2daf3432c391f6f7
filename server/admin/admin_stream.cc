#include "server/admin/admin_stream.h"

#include <chrono>
#include <utility>

#include "server/api/status.h"

namespace latentd {

void AdminStream::Handle(MessageBytes request) {
  absl::StatusOr<Source> source = opener_(request);
  if (!source.ok()) return Refuse(source.status());
  source_ = *std::move(source);
  EchoTrace();
  open_.Add(slot_);
}

void AdminStream::Pump() {
  const TimePoint now = std::chrono::steady_clock::now();
  if (is_broken_) {
    End(StatusOfLeaving());
  } else if (is_writing_) {
    if (now >= write_due_) {
      End(SlowConsumer(buffer_.Length()));
    } else {
      parts_.egress.WakeAt(slot_, write_due_);
    }
  } else if (is_complete_) {
    End(absl::OkStatus());
  } else {
    Tell(source_(now), now);
  }
}

void AdminStream::Tell(Turn turn, TimePoint now) {
  is_complete_ = turn.is_last;
  if (turn.next != kNever) parts_.egress.WakeAt(slot_, turn.next);
  if (turn.message) {
    buffer_ = std::move(*turn.message);
    is_writing_ = true;
    write_due_ = now + parts_.egress.patience();
    StartWrite(&buffer_);
  } else if (is_complete_) {
    End(absl::OkStatus());
  }
}

void AdminStream::OnWriteDone(bool ok) {
  if (!ok) is_broken_ = true;
  is_writing_ = false;
  parts_.egress.Wake(slot_);
}

void AdminStream::ClientLeft() {
  is_broken_ = true;
  parts_.egress.Wake(slot_);
}

}  // namespace latentd
