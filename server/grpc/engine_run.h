// One request's way into the engine and its output's way back: what every RPC that runs the model has as a part of it,
// and pumps on its egress thread. What becomes of the output is the RPC's business.
#pragma once

#include <optional>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include "engine/stream/token_stream.h"
#include "latentd/v1/models.pb.h"
#include "server/api/message_bytes.h"
#include "server/call/live_call.h"
#include "server/grpc/engine_rpc.h"

namespace latentd {

class EngineRun {
 public:
  explicit EngineRun(EngineRpcParts parts);

  const v1::Model& model() const { return model_; }

  // Pool thread, in this order.
  absl::StatusOr<ValidRequest> Admit(MessageBytes request, TimePoint received) const {
    return admit_(request, received);
  }
  absl::Status Submit(ValidRequest request, CallRecord record, TimePoint rpc_deadline, TextSink* sink);
  // Any thread, after Submit.
  void Cancel() { call_->Cancel(); }
  void Detach();

  // Egress thread, as is all below. True the first time: the initial metadata is there to be sent.
  bool Begin(grpc::CallbackServerContext& context);
  std::optional<StreamChunk> Take();
  bool is_complete() const { return call_->has_end(); }  // the engine adds no more
  bool has_end() const { return end_.has_value(); }      // all was taken
  // The engine's reason, unless EndAs gave another one: to a client that did not get all of the answer.
  FinishReason reason() const { return reason_; }
  void EndAs(FinishReason reason) { reason_ = reason; }
  absl::Status StatusOfEnd(size_t unread_bytes = 0) const {
    return call_->StatusOf({.reason = reason_, .end = *end_, .unread_bytes = unread_bytes});
  }

  const LiveCall& call() const { return *call_; }

  // The outcome. False: the request came nowhere near the engine, and its RPC counts it.
  bool Count(const absl::Status& status);

 private:
  const v1::Model& model_;
  LiveRequests& live_;
  const Admission admit_;
  std::optional<LiveCall> call_;

  // Of the egress thread.
  bool has_begun_ = false;
  std::optional<StreamEnd> end_;
  FinishReason reason_ = FinishReason::kEos;  // once there is an end
};

}  // namespace latentd
