#include "server/call/engine_call.h"

#include <utility>

#include "base/check.h"
#include "server/api/answer_limit.h"
#include "server/api/causes.h"
#include "server/api/status.h"

namespace latentd {

EngineCall::EngineCall(CallStart start, const CallParts& parts, const v1::Model& model, Admit admit,
                       std::unique_ptr<Rendering> rendering)
    : Call(std::move(start), parts), model_(model), admit_(std::move(admit)), rendering_(std::move(rendering)) {}

void EngineCall::Handle(MessageBytes request) {
  absl::StatusOr<std::unique_ptr<LiveCall>> live =
      admit_(request, {.record = record(),
                       .received = received(),
                       .deadline = deadline(),
                       .tenant = wire_.Tenant(),
                       .sink = this,
                       .reserve = [this](const ValidRequest& valid) { return Reserve(valid); }});
  if (!live.ok()) return Refuse(live.status());
  live_ = *std::move(live);
}

absl::Status EngineCall::Reserve(const ValidRequest& request) {
  const std::optional<std::string_view> fields = rendering_->SizingFields();
  if (!fields) return absl::OkStatus();
  return ReserveAnswer(MostAnswerBytes(request, model_.vocab_size()), *fields);
}

void EngineCall::Pump() {
  if (!rendering_->SizingFields() || rendering_->num_held_messages() > 1) return Call::Pump();
  Messages messages;
  while (!end_) {
    if (!has_begun_) Begin();
    if (TakeChunk(messages) != Taken::kNothing) continue;
    CHECK(messages.empty());  // the rendering's message would go with this turn
    return;
  }
  if (messages.empty()) return Ended(AnswerFate::kTakenWhole, 0);
  CHECK_EQ(messages.size(), 1u);
  Answer(std::move(messages.front()));
}

EngineCall::Supply EngineCall::Fill(WireState wire, TimePoint, Messages& messages) {
  Taken taken = Taken::kOneOfMany;  // unless it is looked at
  if (!has_begun_) Begin();
  if (live_->is_complete()) {
    while (!end_) TakeChunk(messages);
  } else if (wire == WireState::kFree) {
    // While the wire is busy output waits and merges in the stream, where its size is bounded.
    // A chunk that makes no message brings no write, whose end would be the next turn.
    do {
      taken = TakeChunk(messages);
    } while (taken == Taken::kOneOfMany && messages.empty());
  }
  return {.is_complete = end_.has_value(),
          .ends_at_once = end_ && end_->reason == FinishReason::kSlowConsumer,  // it had its time
          .may_have_more = taken == Taken::kOneOfMany};
}

void EngineCall::Begin() {
  has_begun_ = true;
  wire_.AddMetadata(live_->InitialMetadata());
  wire_.SendMetadata();
}

void EngineCall::Start(int cached_tokens, Messages& messages) {
  has_started_ = true;
  rendering_->Start({.request_id = live_->request_id(),
                     .prompt_tokens = live_->prompt_tokens(),
                     .cached_tokens = cached_tokens,
                     .request = live_->request(),
                     .model = model_},
                    messages);
}

EngineCall::Taken EngineCall::TakeChunk(Messages& messages) {
  std::optional<StreamChunk> chunk = live_->Take();
  if (!chunk) return Taken::kNothing;
  const bool has_succeeded = chunk->end && IsSuccess(chunk->end->reason);
  if (!has_started_ && (has_succeeded || !chunk->tokens.empty())) Start(chunk->cached_tokens, messages);
  if (has_started_) rendering_->Add(*chunk, messages);
  end_ = std::move(chunk->end);
  if (has_succeeded) rendering_->End(*end_, messages);
  return chunk->more_pending ? Taken::kOneOfMany : Taken::kTheOnlyChunk;
}

void EngineCall::Ended(AnswerFate fate, size_t unread_bytes) {
  CallEnd end = EndWith(fate);
  end.engine = end_->reason;
  end.progress = ProgressOf(*end_);
  End(StatusOfRun(FinalCause(end), {.end = *end_, .unread_bytes = unread_bytes, .request_id = live_->request_id()}));
}

void EngineCall::Detach() {
  if (live_ != nullptr) live_->Detach();
}

void EngineCall::Count(const absl::Status& status) {
  if (!end_) return record().Finish(status);
  record().FinishRun(status, *end_);
}

}  // namespace latentd
