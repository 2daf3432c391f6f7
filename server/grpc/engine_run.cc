#include "server/grpc/engine_run.h"

#include <utility>

#include "server/grpc/call_context.h"

namespace latentd {

EngineRun::EngineRun(EngineRpcParts parts) : model_(parts.model), live_(parts.live), admit_(std::move(parts.admit)) {}

absl::Status EngineRun::Submit(ValidRequest request, CallRecord record, TimePoint rpc_deadline, TextSink* sink) {
  call_.emplace(live_, std::move(record));
  return call_->Submit(std::move(request), rpc_deadline, sink);
}

void EngineRun::Detach() {
  if (call_) call_->Detach();
}

bool EngineRun::Begin(grpc::CallbackServerContext& context) {
  if (std::exchange(has_begun_, true)) return false;
  AddInitialMetadata(call_->InitialMetadata(), context);
  return true;
}

std::optional<StreamChunk> EngineRun::Take() {
  std::optional<StreamChunk> chunk = call_->Take();
  if (chunk && chunk->end) {
    end_ = chunk->end;
    reason_ = end_->reason();
  }
  return chunk;
}

bool EngineRun::Count(const absl::Status& status) {
  if (!call_) return false;
  if (end_) {
    call_->Finish(status, *end_);
  } else {
    call_->record().Finish(status);
  }
  return true;
}

}  // namespace latentd
