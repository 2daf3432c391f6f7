#include "server/grpc/stream_writer.h"

#include <string>
#include <utility>

#include "base/now.h"
#include "server/api/events.h"
#include "server/api/status.h"
#include "server/grpc/byte_buffers.h"

namespace latentd {
namespace {

// An end brings none of its own, unless something was held back.
bool HasOutput(const StreamChunk& chunk) {
  return !chunk.tokens.empty() || !chunk.text.empty() || !chunk.reasoning.empty() || !chunk.tool_calls.empty();
}

}  // namespace

StreamWriter::StreamWriter(grpc::CallbackServerContext& context, const RpcParts& rpc, EngineRpcParts parts)
    : Rpc(context, rpc, parts.method), run_(std::move(parts)) {}

void StreamWriter::Handle(MessageBytes request) {
  absl::StatusOr<ValidRequest> valid = run_.Admit(request, received());
  if (!valid.ok()) return Refuse(valid.status());
  const absl::Status refusal = run_.Submit(*std::move(valid), TakeRecord(), deadline(), this);
  if (!refusal.ok()) Refuse(refusal);
}

void StreamWriter::Pump() {
  if (run_.Begin(context_)) SendStart();
  const bool is_writing = PumpAfterWrite();
  may_have_more_ = true;  // unless it is looked at
  if (run_.is_complete()) {
    while (TakeChunk()) {
    }
  } else if (!is_writing && events_.empty()) {
    // While a write is busy output waits and merges in the stream, where its size is bounded.
    TakeChunk();
  }
  if (is_broken_) events_.clear();
  if (run_.has_end() && run_.reason() == FinishReason::kSlowConsumer) return EndAnswer();  // it had its time
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

void StreamWriter::SendStart() {
  StartSendInitialMetadata();
  *events_.emplace_back().mutable_started() = MakeStarted({.request_id = run_.call().request_id(),
                                                           .prompt_tokens = run_.call().prompt_tokens(),
                                                           .request = run_.call().request(),
                                                           .model = run_.model()});
}

bool StreamWriter::TakeChunk() {
  const std::optional<StreamChunk> chunk = run_.Take();
  may_have_more_ = chunk && chunk->more_pending;
  if (!chunk) return false;
  if (HasOutput(*chunk)) {
    AppendToDelta(*chunk, run_.call().request().output, events_.emplace_back().mutable_delta());
  }
  if (!chunk->end || !run_.StatusOfEnd().ok()) return true;
  *events_.emplace_back().mutable_sequence_end() = MakeSequenceEnd(*chunk->end);
  *events_.emplace_back().mutable_completed() = MakeCompleted(*chunk->end);
  return true;
}

void StreamWriter::WriteNext() {
  if (events_.empty()) {
    if (run_.has_end()) EndAnswer();
    return;
  }
  buffer_ = SerializeMessage(events_.front());
  events_.pop_front();
  const bool is_last = events_.empty() && run_.has_end();
  grpc::WriteOptions options = is_last ? LastWrite() : grpc::WriteOptions();
  if (!events_.empty()) options.set_buffer_hint();  // the next one follows at once and takes this one along
  const bool goes_on = !events_.empty() || may_have_more_ || run_.has_end();
  write_ = goes_on ? Write::kBusyAndPumpWanted : Write::kBusy;
  stuck_since_ = kNever;
  if (run_.has_end()) LimitWrite();
  StartWrite(&buffer_, options);
}

void StreamWriter::GiveUpIfStuck() {
  if (!run_.has_end()) return;
  if (stuck_since_ == kNever) return LimitWrite();
  if (Now() < stuck_since_ + parts_.egress.patience()) return;
  if (run_.StatusOfEnd().ok()) run_.EndAs(FinishReason::kSlowConsumer);
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
  // Complete for the engine, but not for a client that is gone, or did not read it while this server was there.
  if (is_broken_ && run_.StatusOfEnd().ok()) {
    run_.EndAs(parts_.egress.is_cut_short() ? FinishReason::kDraining : FinishReason::kCancelled);
  }
  const size_t unread_bytes = UnreadBytes();
  events_.clear();
  End(run_.StatusOfEnd(unread_bytes));
}

void StreamWriter::OnWriteDone(bool ok) {
  if (!ok) {
    is_broken_ = true;
    run_.Cancel();
  }
  // The next output wakes the egress thread by itself.
  if (write_.exchange(Write::kIdle) == Write::kBusyAndPumpWanted || !ok) Wake();
}

void StreamWriter::ClientLeft() {
  is_broken_ = true;
  run_.Cancel();
  Wake();
}

void StreamWriter::Count(const absl::Status& status) {
  if (!run_.Count(status)) Rpc::Count(status);
}

}  // namespace latentd
