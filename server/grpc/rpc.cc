#include "server/grpc/rpc.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/interruption.h"
#include "base/now.h"
#include "server/api/answer_limit.h"
#include "server/api/status.h"
#include "server/grpc/byte_buffers.h"
#include "server/grpc/call_context.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/inflate.h"
#include "server/net/connection_table.h"
#include "server/net/message_limit.h"

namespace latentd {
namespace {

// For gRPC to tell that a client reset its stream.
constexpr std::chrono::milliseconds kUntilToldOfLeaving{20};

absl::Status Unpack(Packing packing, grpc::ByteBuffer* message) {
  if (message->Length() > static_cast<size_t>(kMaxMessageBytes)) {
    return MessageTooLarge(message->Length(), kMaxMessageBytes);
  }
  switch (packing) {
    case Packing::kNone:
      return absl::OkStatus();
    case Packing::kGzip:
      return InflateGzip(kMaxMessageBytes, message);
    case Packing::kUnknown:
      break;
  }
  return UnsupportedField("grpc-encoding", "expected identity or gzip, found a message compressed otherwise");
}

}  // namespace

Rpc::Rpc(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method)
    : context_(context),
      parts_(parts),
      received_(Now()),
      deadline_(DeadlineOf(context)),
      record_(CallRecord(OriginOf(context), parts.metrics, method)),
      cut_off_(context, parts.egress, slot_) {
  slot_.pump = [this] { PumpSlot(); };
  slot_.release = [this] { delete this; };
  parts_.egress.Attach(slot_);
  place_.peer = record_->peer();
  place_.wake = [this] { parts_.egress.Wake(slot_); };
}

void Rpc::Receive() { Attend(parts_.intake.Arrive(place_, Now())); }

Rpc::Stage Rpc::stage() const {
  std::lock_guard lock(mutex_);
  return stage_;
}

bool Rpc::MoveOn(Stage from, Stage to) {
  std::lock_guard lock(mutex_);
  if (stage_ != from) return false;
  stage_ = to;
  return true;
}

void Rpc::PumpSlot() {
  switch (stage()) {
    case Stage::kArriving:
    case Stage::kReceiving:
      if (empty_since_.load() != kNever) return RefuseEmpty();
      return Attend(parts_.intake.Look(place_, Now()));
    case Stage::kQueued:
    case Stage::kHandling:
      return;
    case Stage::kAnswering:
      return answer_due_.load() == kNever ? Pump() : GiveUpAnswer();
    case Stage::kOver:
      return cut_off_.CancelIfDue(Now());
  }
}

void Rpc::Attend(Intake::Standing standing) {
  switch (standing) {
    case Intake::Standing::kReceiving:
      if (MoveOn(Stage::kArriving, Stage::kReceiving)) StartRead(&request_);
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

void Rpc::OnReadDone(bool ok) {
  if (ok) {
    parts_.intake.Received(place_, request_.Length(), Now());
    return Enqueue();
  }
  if (stage() != Stage::kReceiving) return;  // it ended before
  empty_since_ = Now();
  parts_.egress.Wake(slot_);
}

// gRPC throws the message of a client that left away, and tells of that first.
void Rpc::RefuseEmpty() {
  const TimePoint since = empty_since_.load();
  const bool has_left = context_.IsCancelled() || IsExpired(since, deadline_) ||
                        ConnectionTable::OfProcess().SendingOf(place_.peer.connection) == Sending::kOver;
  if (has_left) {
    left_at_ = since;
    has_left_ = true;
  } else if (Now() < since + kUntilToldOfLeaving) {
    return parts_.egress.WakeAt(slot_, since + kUntilToldOfLeaving);
  }
  RefuseUnreceived(InvalidField("", "expected one whole message, found none"));
}

void Rpc::Enqueue() {
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::kReceiving) return;
  ticket_ = parts_.pool.Submit({.peer = place_.peer,
                                .num_bytes = request_.Length(),
                                .run = [this] { Work(); },
                                .displaced = [this] { Refuse(IntakeFull()); }});
  const bool has_place = ticket_.has_value();
  if (has_place) stage_ = Stage::kQueued;
  lock.unlock();
  if (!has_place) RefuseUnreceived(IntakeFull());
}

void Rpc::Work() {
  {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kQueued) return;
    stage_ = Stage::kHandling;
    is_working_ = true;
  }
  if (has_left_) {
    Refuse(StatusOfLeaving());
  } else if (const absl::Status status = Unpack(PackingOf(context_), &request_); !status.ok()) {
    Refuse(status);
  } else {
    const Interruptible interruptible(has_left_);
    Handle(BufferPieces(request_).bytes());
  }
  request_.Clear();
  parts_.intake.Leave(place_, Now());
  std::unique_lock lock(mutex_);
  const bool is_answering = stage_ == Stage::kHandling;
  if (is_answering) stage_ = Stage::kAnswering;
  const bool has_left = is_answering && has_left_;
  lock.unlock();
  if (has_left) ClientLeft();
  if (is_answering && (answer_due_.load() == kNever || makes_room_)) parts_.egress.Wake(slot_);
  lock.lock();
  is_working_ = false;
  if (!is_done_) return;
  lock.unlock();
  Depart();
}

void Rpc::OnCancel() {
  left_at_ = Now();
  has_left_ = true;
  std::unique_lock lock(mutex_);
  const Stage stage = stage_;
  const std::optional<WorkPool::Ticket> ticket = ticket_;
  lock.unlock();
  switch (stage) {
    case Stage::kArriving:
    case Stage::kReceiving:
      return RefuseUnreceived(StatusOfLeaving());  // else the message came, and Work sees that the client left
    case Stage::kQueued:
      // Else its turn came, and Work sees that the client left.
      if (parts_.pool.Withdraw(*ticket)) Refuse(StatusOfLeaving());
      return;
    case Stage::kAnswering:
      if (answer_due_.load() != kNever) End(StatusOfLeaving());
      return ClientLeft();
    case Stage::kHandling:
    case Stage::kOver:
      return;
  }
}

void Rpc::OnDone() {
  cut_off_.Disarm();
  {
    std::lock_guard lock(mutex_);
    is_done_ = true;
    if (is_working_) return;  // the pool's thread departs
  }
  Depart();
}

void Rpc::Depart() {
  Detach();
  parts_.intake.Leave(place_, Now());
  answer_share_ = {};
  parts_.egress.Done(slot_);
}

absl::Status Rpc::StatusOfLeaving() const {
  if (parts_.egress.is_cut_short()) return Draining();  // it is this server that left
  const StreamEnd end;                                  // it never came into the engine
  return StatusOfEnd({.reason = FinishReason::kCancelled,
                      .end = end,
                      .request_id = "",
                      .rpc_deadline_passed = IsExpired(left_at_, deadline_)});
}

void Rpc::Refuse(absl::Status status) {
  if (has_left_) status = StatusOfLeaving();
  End(status);
}

void Rpc::RefuseUnreceived(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kArriving && stage_ != Stage::kReceiving) return;
    stage_ = Stage::kOver;
  }
  Conclude(has_left_ ? StatusOfLeaving() : status);
}

bool Rpc::End(const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ == Stage::kOver) return false;
    stage_ = Stage::kOver;
  }
  Conclude(status);
  return true;
}

void Rpc::Conclude(const absl::Status& status) {
  Count(status);
  cut_off_.Arm(Now() + (makes_room_ ? Duration::zero() : parts_.egress.patience()));  // room is needed at once
  Finish(ToGrpcStatus(status, context_));
}

absl::Status Rpc::ReserveAnswer(size_t num_bytes, std::string_view fields) {
  absl::StatusOr<size_t> accepted = AcceptedAnswerBytes(context_);
  if (!accepted.ok()) return accepted.status();
  const size_t limit = std::min(*accepted, parts_.answers.max_bytes_of_peer());
  if (num_bytes > limit) return AnswerTooLarge(fields, num_bytes, limit);
  ByteBudget::Share share;
  if (!parts_.answers.TryTake(place_.peer, num_bytes, &share, Now())) return AnswersFull();
  answer_share_ = std::move(share);
  return absl::OkStatus();
}

void Rpc::Answer(const google::protobuf::Message& message) {
  const size_t num_bytes = message.ByteSizeLong();
  if (num_bytes > answer_share_.num_bytes()) {
    answer_share_ = {};
    if (absl::Status status = ReserveAnswer(num_bytes, "the answer"); !status.ok()) return Refuse(status);
  }
  answer_share_.Resize(num_bytes);
  answer_ = SerializeMessage(message);
  answer_share_.OfferTo(Now(), [this] {
    makes_room_ = true;
    parts_.egress.Wake(slot_);
  });
  const TimePoint due = Now() + parts_.egress.patience();
  parts_.egress.WakeAt(slot_, due);  // before the write, whose end sets an alarm of its own
  StartWrite(&answer_, LastWrite());
  answer_due_ = due;  // not before: nothing may end the RPC between this and the write
  if (makes_room_) parts_.egress.Wake(slot_);
}

grpc::WriteOptions Rpc::LastWrite() { return grpc::WriteOptions().set_write_through(); }

void Rpc::GiveUpAnswer() {
  const TimePoint due = answer_due_.load();
  if (makes_room_) return static_cast<void>(End(AnswersFull()));
  if (Now() < due) return parts_.egress.WakeAt(slot_, due);  // the alarm was one of an earlier stage
  End(SlowConsumer(answer_.Length()));
}

void Rpc::OnWriteDone(bool ok) {
  if (!ok && left_at_.load() == kNever) left_at_ = Now();
  End(ok ? absl::OkStatus() : StatusOfLeaving());
}

namespace {

class UnreadRpc final : public Rpc {
 public:
  UnreadRpc(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method,
            const absl::Status& status)
      : Rpc(context, parts, method) {
    Refuse(status);
  }

 private:
  void Handle(MessageBytes) override {}
};

}  // namespace

RpcReactor* RefuseUnread(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method,
                         const absl::Status& status) {
  return new UnreadRpc(context, parts, method, status);
}

}  // namespace latentd
