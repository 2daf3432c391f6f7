#include "server/stream_writer.h"

#include <string>
#include <utility>

#include "server/events.h"
#include "server/now.h"
#include "server/status.h"
#include "server/wire_message.h"

namespace latentd {
namespace {

// An end brings none of its own, unless something was held back.
bool HasOutput(const StreamChunk& chunk) {
  return !chunk.tokens.empty() || !chunk.text.empty() || !chunk.reasoning.empty() || !chunk.tool_calls.empty();
}

}  // namespace

StreamWriter::StreamWriter(grpc::CallbackServerContext& context, const RpcParts& rpc, EngineRpcParts parts)
    : Rpc(context, rpc, parts.method), model_(parts.model), live_(parts.live), admit_(std::move(parts.admit)) {}

void StreamWriter::Handle(const grpc::ByteBuffer& request) {
  absl::StatusOr<ValidRequest> valid = admit_(request, received());
  if (!valid.ok()) return Refuse(valid.status());
  call_.emplace(live_, TakeRecord());
  const absl::Status refusal = call_->Submit(*std::move(valid), deadline(), this);
  if (!refusal.ok()) Refuse(refusal);
}

void StreamWriter::Pump() {
  if (!has_begun_) Begin();
  const bool is_writing = PumpAfterWrite();
  may_have_more_ = true;  // unless it is looked at
  if (call_->has_end()) {
    while (TakeChunk()) {
    }
  } else if (!is_writing && events_.empty()) {
    // While a write is busy output waits and merges in the stream, where its size is bounded.
    TakeChunk();
  }
  if (is_broken_) events_.clear();
  if (end_ && end_->reason == FinishReason::kSlowConsumer) return EndAnswer();  // it had its time
  if (is_writing) {
    GiveUpIfStuck();
  } else {
    WriteNext();
  }
}

bool StreamWriter::PumpAfterWrite() {
  Write busy = Write::kBusy;
  return write_.compare_exchange_strong(busy, Write::kBusyAndPumpWanted) || busy == Write::kBusyAndPumpWanted;
}

void StreamWriter::Begin() {
  has_begun_ = true;
  call_->AddInitialMetadata(context_);
  StartSendInitialMetadata();
  *events_.emplace_back().mutable_started() = MakeStarted({.request_id = call_->request_id(),
                                                           .prompt_tokens = call_->prompt_tokens(),
                                                           .request = call_->request(),
                                                           .model = model_});
}

bool StreamWriter::TakeChunk() {
  std::optional<StreamChunk> chunk = call_->Take();
  may_have_more_ = chunk && chunk->more_pending;
  if (!chunk) return false;
  if (HasOutput(*chunk)) {
    AppendToDelta(*chunk, call_->request().output, events_.emplace_back().mutable_delta());
  }
  if (!chunk->end) return true;
  end_ = std::move(chunk->end);
  if (!call_->StatusOf(*end_).ok()) return true;
  *events_.emplace_back().mutable_sequence_end() = MakeSequenceEnd(*end_);
  *events_.emplace_back().mutable_completed() = MakeCompleted(*end_);
  return true;
}

void StreamWriter::WriteNext() {
  if (events_.empty()) {
    if (end_) EndAnswer();
    return;
  }
  buffer_ = SerializeMessage(events_.front());
  events_.pop_front();
  const bool is_last = events_.empty() && end_;
  grpc::WriteOptions options = is_last ? LastWrite() : grpc::WriteOptions();
  if (!events_.empty()) options.set_buffer_hint();  // the next one follows at once and takes this one along
  const bool goes_on = !events_.empty() || may_have_more_ || end_;
  write_ = goes_on ? Write::kBusyAndPumpWanted : Write::kBusy;
  stuck_since_ = kNever;
  if (end_) LimitWrite();
  StartWrite(&buffer_, options);
}

void StreamWriter::GiveUpIfStuck() {
  if (!end_) return;
  if (stuck_since_ == kNever) return LimitWrite();
  if (Now() < stuck_since_ + parts_.egress.patience()) return;
  if (call_->StatusOf(*end_).ok()) end_->reason = FinishReason::kSlowConsumer;
  EndAnswer();
}

void StreamWriter::LimitWrite() {
  stuck_since_ = Now();
  parts_.egress.WakeAt(slot_, stuck_since_ + parts_.egress.patience());
}

size_t StreamWriter::UnreadBytes() const {
  size_t num_bytes = write_ == Write::kIdle ? 0 : buffer_.Length();
  for (const v1::GenerateEvent& event : events_) num_bytes += event.ByteSizeLong();
  return num_bytes;
}

void StreamWriter::EndAnswer() {
  // Complete for the engine, but not for a client that is gone.
  if (is_broken_ && call_->StatusOf(*end_).ok()) end_->reason = FinishReason::kCancelled;
  if (end_->reason == FinishReason::kSlowConsumer) end_->buffered_bytes = UnreadBytes();
  events_.clear();
  End(call_->StatusOf(*end_));
}

void StreamWriter::OnWriteDone(bool ok) {
  if (!ok) {
    is_broken_ = true;
    call_->Cancel();
  }
  // The next output wakes the egress thread by itself.
  if (write_.exchange(Write::kIdle) == Write::kBusyAndPumpWanted || !ok) Wake();
}

void StreamWriter::ClientLeft() {
  is_broken_ = true;
  call_->Cancel();
  Wake();
}

void StreamWriter::Detach() {
  if (call_) call_->Detach();
}

void StreamWriter::Count(const absl::Status& status) {
  if (!call_) return Rpc::Count(status);
  if (end_) return call_->Finish(status, *end_);
  call_->record().Finish(status);
}

}  // namespace latentd
