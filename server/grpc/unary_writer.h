// The answer of GenerateOnce and Score: collects one token stream on its egress thread into one message. A reader that
// does not take it ends with SLOW_CONSUMER, see Rpc::Answer.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "engine/stream/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/answer_limit.h"
#include "server/api/events.h"
#include "server/api/message_bytes.h"
#include "server/call/live_call.h"
#include "server/grpc/engine_run.h"
#include "server/grpc/rpc.h"

namespace latentd {

// What to do with each chunk of a GenerateResult or a ScoreResult.
void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::GenerateResult* result);
void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::ScoreResult* result);

// The fields that decide how large the answer becomes.
std::string_view SizingFields(const v1::GenerateResult& result);
std::string_view SizingFields(const v1::ScoreResult& result);

template <class Result>
class UnaryWriter final : public Rpc, public TextSink {
 public:
  UnaryWriter(grpc::CallbackServerContext& context, const RpcParts& rpc, EngineRpcParts parts)
      : Rpc(context, rpc, parts.method), run_(std::move(parts)) {}

  void Wake() override { parts_.egress.Wake(slot_); }

 private:
  void Handle(MessageBytes request) override {
    absl::StatusOr<ValidRequest> valid = run_.Admit(request, received());
    if (!valid.ok()) return Refuse(valid.status());
    absl::Status status = ReserveAnswer(MostAnswerBytes(*valid, run_.model().vocab_size()), SizingFields(result_));
    if (!status.ok()) return Refuse(status);
    status = run_.Submit(*std::move(valid), TakeRecord(), deadline(), this);
    if (!status.ok()) Refuse(status);
  }

  void Pump() override {
    if (run_.Begin(context_)) StartSendInitialMetadata();
    while (!run_.has_end()) {
      const std::optional<StreamChunk> chunk = run_.Take();
      if (!chunk) return;
      CollectInto(run_.call(), run_.model(), *chunk, &result_);
      if (!chunk->end) continue;
      if (const absl::Status status = run_.StatusOfEnd(); !status.ok()) {
        End(status);
      } else {
        Answer(result_);
      }
    }
  }

  void ClientLeft() override { run_.Cancel(); }
  void Detach() override { run_.Detach(); }
  void Count(const absl::Status& status) override {
    if (!run_.Count(status)) Rpc::Count(status);
  }

  EngineRun run_;
  Result result_;  // of the egress thread
};

}  // namespace latentd
