// The answer of GenerateOnce and Score: collects one token stream on its egress thread into one message, which gRPC
// then holds until the client took it or Egress::patience is over. Deletes itself when gRPC is done.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/token_stream.h"
#include "server/cut_off.h"
#include "server/egress.h"
#include "server/events.h"
#include "server/live_call.h"
#include "server/status.h"
#include "server/wire_message.h"

namespace latentd {

// What to do with each chunk of a GenerateResult or a ScoreResult.
void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::GenerateResult* result);
void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::ScoreResult* result);

template <class Result>
class UnaryWriter final : public grpc::ServerUnaryReactor, public TextSink {
 public:
  // All references outlive the RPC.
  UnaryWriter(grpc::CallbackServerContext& context, Egress& egress, const v1::Model& model, grpc::ByteBuffer& response)
      : context_(context), egress_(egress), model_(model), response_(response), cut_off_(context, egress, slot_) {
    slot_.pump = [this] { Pump(); };
    slot_.release = [this] { delete this; };
    egress_.Attach(slot_);
  }

  // Exactly one of the two, from the handler, once.
  void Start(CallRecord record, ValidRequest request, TimePoint rpc_deadline, LiveRequests& live) {
    call_.emplace(live, std::move(record));
    const absl::Status refusal = call_->Submit(std::move(request), rpc_deadline, this);
    if (refusal.ok()) {
      Wake();
    } else {
      call_->record().Finish(refusal);
      Finish(ToGrpcStatus(refusal, context_));
    }
  }
  void Refuse(CallRecord record, const absl::Status& status) {
    record.Finish(status);
    Finish(ToGrpcStatus(status, context_));
  }

  void Wake() override { egress_.Wake(slot_); }

  void OnCancel() override {
    if (call_) call_->Cancel();
  }
  void OnDone() override {
    if (call_) call_->Detach();
    cut_off_.Disarm();
    egress_.Done(slot_);
  }

 private:
  void Pump() {
    if (has_ended_) return cut_off_.CancelIfDue(std::chrono::steady_clock::now());
    if (!has_begun_) {
      has_begun_ = true;
      call_->AddInitialMetadata(context_);
      StartSendInitialMetadata();
    }
    while (const std::optional<StreamChunk> chunk = call_->Take()) {
      CollectInto(*call_, model_, *chunk, &result_);
      if (chunk->end) End(*chunk->end);
    }
  }
  void End(const StreamEnd& end) {
    has_ended_ = true;
    const absl::Status status = call_->StatusOf(end);
    if (status.ok()) response_ = SerializeMessage(result_);
    call_->Finish(status, end);
    Finish(ToGrpcStatus(status, context_));
    cut_off_.Arm(std::chrono::steady_clock::now() + egress_.patience());
  }

  grpc::CallbackServerContext& context_;
  Egress& egress_;
  const v1::Model& model_;
  grpc::ByteBuffer& response_;
  Egress::Slot slot_;
  CutOff cut_off_;
  std::optional<LiveCall> call_;

  // Of the egress thread.
  bool has_begun_ = false;
  bool has_ended_ = false;
  Result result_;
};

}  // namespace latentd
