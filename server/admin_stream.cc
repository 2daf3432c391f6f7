#include "server/admin_stream.h"

#include <chrono>
#include <utility>

#include "server/status.h"

namespace latentd {

AdminStream::AdminStream(OpenStreams& open, CallRecord record) : open_(open), record_(std::move(record)) {
  slot_.pump = [this] { Pump(); };
  slot_.release = [this] { delete this; };
  open_.egress().Attach(slot_);
}

void AdminStream::Start(grpc::CallbackServerContext& context, Source source) {
  source_ = std::move(source);
  record_.EchoTrace(context);
  open_.Add(slot_);
  open_.egress().Wake(slot_);
}

void AdminStream::Refuse(const absl::Status& status) {
  has_ended_ = true;
  End(status);
}

void AdminStream::Pump() {
  if (has_ended_ || is_writing_ || !source_) return;
  if (is_broken_) {
    const StreamEnd cancelled{.reason = FinishReason::kCancelled};
    return End(StatusOfEnd({.end = cancelled, .request_id = ""}));
  }
  if (is_complete_) return End(absl::OkStatus());
  Turn turn = source_(std::chrono::steady_clock::now());
  is_complete_ = turn.is_last;
  if (turn.next != kNever) open_.egress().WakeAt(slot_, turn.next);
  if (turn.message) {
    buffer_ = std::move(*turn.message);
    is_writing_ = true;
    StartWrite(&buffer_);
  } else if (is_complete_) {
    End(absl::OkStatus());
  }
}

void AdminStream::End(const absl::Status& status) {
  has_ended_ = true;
  record_.Finish(status, "ANSWERED");
  Finish(ToGrpcStatus(status));
}

void AdminStream::OnWriteDone(bool ok) {
  if (!ok) is_broken_ = true;
  is_writing_ = false;
  open_.egress().Wake(slot_);
}

void AdminStream::OnCancel() {
  is_broken_ = true;
  open_.egress().Wake(slot_);
}

void AdminStream::OnDone() {
  open_.Remove(slot_);
  open_.egress().Done(slot_);
}

}  // namespace latentd
