#include "server/stream_writer.h"

#include <chrono>
#include <string>
#include <utility>

#include "server/events.h"
#include "server/status.h"
#include "server/wire_message.h"

namespace latentd {
namespace {

// How long an unread write may stand between a request's end and its status.
constexpr std::chrono::seconds kPatienceAfterSuccess{30};
constexpr std::chrono::seconds kPatienceAfterFailure{5};

TimePoint Now() { return std::chrono::steady_clock::now(); }

}  // namespace

StreamWriter::StreamWriter(grpc::CallbackServerContext& context, Egress& egress, const v1::Model& model,
                           EngineThread& engine, RequestNames& names)
    : context_(context), egress_(egress), model_(model), engine_(engine), names_(names) {
  slot_.pump = [this] { Pump(); };
  slot_.release = [this] { delete this; };
  egress_.Attach(slot_);
}

void StreamWriter::Start(CallRecord record, ValidRequest request, TimePoint rpc_deadline) {
  call_.emplace(engine_, names_, std::move(record));
  const absl::Status refusal = call_->Submit(std::move(request), rpc_deadline, this);
  if (refusal.ok()) {
    Wake();
  } else {
    has_ended_ = true;
    call_->record().Finish(refusal);
    Finish(ToGrpcStatus(refusal, context_));
  }
}

void StreamWriter::Refuse(CallRecord record, const absl::Status& status) {
  has_ended_ = true;
  record.Finish(status);
  Finish(ToGrpcStatus(status, context_));
}

void StreamWriter::Pump() {
  if (has_ended_) return;
  if (!has_begun_) Begin();
  // Until it can be written, output waits and merges in the stream, where its size is bounded; after the end none
  // follows.
  const bool can_write_more = !is_writing_ && events_.empty();
  if (can_write_more || call_->has_end()) TakeChunks();
  if (is_broken_) events_.clear();
  if (is_writing_) {
    GiveUpIfStuck();
  } else {
    WriteNext();
  }
}

void StreamWriter::Begin() {
  has_begun_ = true;
  context_.AddInitialMetadata("latentd-request-id", call_->request_id());
  StartSendInitialMetadata();
  *events_.emplace_back().mutable_started() = MakeStarted({.request_id = call_->request_id(),
                                                           .prompt_tokens = call_->prompt_tokens(),
                                                           .request = call_->request(),
                                                           .model = model_});
}

void StreamWriter::TakeChunks() {
  while (std::optional<StreamChunk> chunk = call_->Take()) {
    if (!chunk->tokens.empty() || !chunk->text.empty()) {
      AppendToDelta(*chunk, call_->request().output, events_.emplace_back().mutable_delta());
    }
    if (!chunk->end) continue;
    end_ = std::move(chunk->end);
    if (!call_->StatusOf(*end_).ok()) return;
    *events_.emplace_back().mutable_sequence_end() = MakeSequenceEnd(*end_);
    *events_.emplace_back().mutable_completed() = MakeCompleted(*end_);
  }
}

void StreamWriter::WriteNext() {
  stuck_since_ = kNever;
  if (events_.empty()) {
    if (end_) End();
    return;
  }
  buffer_ = SerializeMessage(events_.front());
  events_.pop_front();
  is_writing_ = true;
  StartWrite(&buffer_);
}

void StreamWriter::GiveUpIfStuck() {
  if (!end_) return;
  const bool succeeded = call_->StatusOf(*end_).ok();
  const auto patience = succeeded ? kPatienceAfterSuccess : kPatienceAfterFailure;
  if (stuck_since_ == kNever) {
    stuck_since_ = Now();
    egress_.WakeAt(slot_, stuck_since_ + patience);
  } else if (Now() >= stuck_since_ + patience) {
    if (succeeded) end_->reason = FinishReason::kSlowConsumer;
    End();
    context_.TryCancel();  // or the stream would stay open for as long as nobody reads
  }
}

void StreamWriter::End() {
  // Complete for the engine, but not for a client that is gone.
  if (is_broken_ && call_->StatusOf(*end_).ok()) end_->reason = FinishReason::kCancelled;
  const absl::Status status = call_->StatusOf(*end_);
  has_ended_ = true;
  call_->record().Finish(status, NameOfEnd(end_->reason));
  Finish(ToGrpcStatus(status, context_));
}

void StreamWriter::OnWriteDone(bool ok) {
  if (!ok) {
    is_broken_ = true;
    call_->Cancel();
  }
  is_writing_ = false;
  Wake();
}

void StreamWriter::OnCancel() {
  is_broken_ = true;
  if (call_) call_->Cancel();
  Wake();
}

void StreamWriter::OnDone() {
  if (call_) call_->Detach();
  egress_.Done(slot_);
}

}  // namespace latentd
