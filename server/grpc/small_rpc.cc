#include "server/grpc/small_rpc.h"

#include <utility>

#include <absl/strings/str_format.h>

#include "server/grpc/byte_buffers.h"
#include "server/grpc/call_context.h"
#include "server/grpc/inflate.h"

namespace latentd {
namespace {

grpc::Status TooMany() {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many RPCs of this kind are open; close some"};
}

grpc::Status TooLarge() {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          absl::StrFormat("expected a message of at most %d bytes, found a larger one", kMaxSmallMessageBytes)};
}

}  // namespace

SmallRpc::SmallRpc(grpc::CallbackServerContext& context, StreamPlaces& places)
    : Holder(ReadablePeer(context.peer())), context_(context), places_(&places) {}

void SmallRpc::Begin() {
  if (!places_->Take(*this)) return End(TooMany());
  Read();
}

void SmallRpc::OnReadDone(bool ok) {
  if (!ok) return HandleEnd();
  if (received_.Length() > kMaxSmallMessageBytes) return End(TooLarge());
  const absl::Status status = UnpackMessage(context_, kMaxSmallMessageBytes, &received_);
  if (!status.ok()) return End({static_cast<grpc::StatusCode>(status.code()), std::string(status.message())});
  grpc::Slice bytes;
  if (!received_.DumpToSingleSlice(&bytes).ok()) return End(TooLarge());
  received_.Clear();
  Handle({reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
}

void SmallRpc::OnWriteDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    is_writing_ = false;
    if (has_ended_) return;
  }
  ok ? Written() : End(grpc::Status::CANCELLED);
}

void SmallRpc::OnCancel() { End(grpc::Status::CANCELLED); }

void SmallRpc::OnDone() {
  places_->GiveBack(*this);
  Leave();
  delete this;
}

void SmallRpc::MakeRoom() {
  std::unique_lock lock(mutex_);
  if (is_writing_) return context_.TryCancel();  // its client does not read: a status would wait behind the write
  if (has_ended_) return;
  has_ended_ = true;
  lock.unlock();
  Finish(TooMany());
}

bool SmallRpc::MoveTo(StreamPlaces& places) {
  places_->GiveBack(*this);
  places_ = &places;
  if (places_->Take(*this)) return true;
  End(TooMany());
  return false;
}

void SmallRpc::Read() {
  std::lock_guard lock(mutex_);
  if (!has_ended_) StartRead(&received_);
}

void SmallRpc::Write(const google::protobuf::Message& message) {
  std::lock_guard lock(mutex_);
  if (has_ended_) return;
  sent_ = SerializeMessage(message);
  is_writing_ = true;
  StartWrite(&sent_);
}

bool SmallRpc::is_writing() const {
  std::lock_guard lock(mutex_);
  return is_writing_;
}

void SmallRpc::End(const grpc::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(has_ended_, true)) return;
  }
  Finish(status);
}

void SmallRpc::EndWith(const google::protobuf::Message& message) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(has_ended_, true)) return;
    sent_ = SerializeMessage(message);
    is_writing_ = true;
  }
  StartWriteAndFinish(&sent_, {}, grpc::Status::OK);
}

}  // namespace latentd
