// The answer of Generate and Chat: the sink of one token stream, written by its egress thread with at most one write in
// flight; what becomes ready behind a busy write is merged into the next Delta. Deletes itself when gRPC is done.
#pragma once

#include <atomic>
#include <deque>
#include <optional>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/egress.h"
#include "server/live_call.h"

namespace latentd {

class StreamWriter final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public TextSink {
 public:
  // All references outlive the RPC.
  StreamWriter(grpc::CallbackServerContext& context, Egress& egress, const v1::Model& model, EngineThread& engine,
               RequestNames& names);

  // Exactly one of the two, from the handler, once.
  void Start(CallRecord record, ValidRequest request, TimePoint rpc_deadline);
  void Refuse(CallRecord record, const absl::Status& status);

  void Wake() override { egress_.Wake(slot_); }

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Pump();
  void Begin();
  void TakeChunks();
  void WriteNext();
  // A client that reads nothing holds its stream only for so long once the answer is complete.
  void GiveUpIfStuck();
  void End();

  grpc::CallbackServerContext& context_;
  Egress& egress_;
  const v1::Model& model_;
  EngineThread& engine_;
  RequestNames& names_;
  Egress::Slot slot_;
  std::optional<LiveCall> call_;

  // Of the egress thread.
  bool has_begun_ = false;
  bool has_ended_ = false;
  std::deque<v1::GenerateEvent> events_;  // to be written, at most five
  grpc::ByteBuffer buffer_;               // of the write in flight
  std::optional<StreamEnd> end_;
  TimePoint stuck_since_ = kNever;

  std::atomic<bool> is_writing_ = false;  // set by the egress thread, cleared by gRPC's
  std::atomic<bool> is_broken_ = false;   // nothing can be written any more
};

}  // namespace latentd
