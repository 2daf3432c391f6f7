// The answer of GenerateOnce and Score: collects one token stream on its egress thread into one message. A reader that
// does not take it ends with SLOW_CONSUMER, see Rpc::Answer.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/answer_limit.h"
#include "server/engine_rpc.h"
#include "server/events.h"
#include "server/live_call.h"
#include "server/rpc.h"

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
      : Rpc(context, rpc, parts.method), model_(parts.model), live_(parts.live), admit_(std::move(parts.admit)) {}

  void Wake() override { parts_.egress.Wake(slot_); }

 private:
  void Handle(const grpc::ByteBuffer& request) override {
    absl::StatusOr<ValidRequest> valid = admit_(request, received());
    if (!valid.ok()) return Refuse(valid.status());
    absl::Status status = ReserveAnswer(MostAnswerBytes(*valid, model_.vocab_size()), SizingFields(result_));
    if (!status.ok()) return Refuse(status);
    call_.emplace(live_, TakeRecord());
    status = call_->Submit(*std::move(valid), deadline(), this);
    if (!status.ok()) Refuse(status);
  }

  void Pump() override {
    if (!has_begun_) {
      has_begun_ = true;
      call_->AddInitialMetadata(context_);
      StartSendInitialMetadata();
    }
    while (!end_) {
      std::optional<StreamChunk> chunk = call_->Take();
      if (!chunk) return;
      CollectInto(*call_, model_, *chunk, &result_);
      if (!chunk->end) continue;
      end_ = std::move(chunk->end);
      if (const absl::Status status = call_->StatusOf(*end_); !status.ok()) {
        End(status);
      } else {
        Answer(result_);
      }
    }
  }

  void ClientLeft() override { call_->Cancel(); }
  void Detach() override {
    if (call_) call_->Detach();
  }
  void Count(const absl::Status& status) override {
    if (!call_) return Rpc::Count(status);
    if (end_) return call_->Finish(status, *end_);
    call_->record().Finish(status);
  }

  const v1::Model& model_;
  LiveRequests& live_;
  const Admission admit_;
  std::optional<LiveCall> call_;

  // Of the egress thread.
  bool has_begun_ = false;
  std::optional<StreamEnd> end_;
  Result result_;
};

}  // namespace latentd
