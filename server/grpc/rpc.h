// An RPC of gRPC as the transport of a Call, and nothing else: what gRPC tells is handed over, what the call asks for
// is begun. Owns the call, which has both destroyed when gRPC is done.
//
// gRPC calls the handler when the headers are there, since all methods are registered as streams of bytes in both
// directions (byte_service.h); on the wire they are what the protocol says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/api/message_bytes.h"
#include "server/call/call.h"
#include "server/call/identity.h"
#include "server/call/wire.h"
#include "server/grpc/byte_buffers.h"

namespace latentd {

using RpcReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class Rpc final : public RpcReactor, public CallWire {
 public:
  // `context` is gRPC's, until OnDone.
  explicit Rpc(grpc::CallbackServerContext& context) : context_(context) {}

  // First of all. Not OK: it is to be refused with that.
  absl::Status Identify(const Entrance& entrance, std::string_view method);
  // Once, next. The call has this as its wire.
  template <class AnyCall>
  AnyCall& Own(std::unique_ptr<AnyCall> call) {
    AnyCall& owned = *call;
    call_ = std::move(call);
    return owned;
  }

  const Identity& identity() const { return identity_; }

  void OnReadDone(bool ok) override { ok ? call_->Received(request_.Length()) : call_->ReceivedNothing(); }
  void OnWriteDone(bool ok) override { ok ? call_->Written() : call_->WriteFailed(); }
  void OnCancel() override { call_->Left(); }
  void OnDone() override { call_->Done(); }

  void Release() override { delete this; }
  void Read() override { StartRead(&request_); }
  absl::StatusOr<MessageBytes> Unpack() override;
  void DropMessage() override;
  bool IsCancelled() const override;
  absl::StatusOr<size_t> AcceptedAnswerBytes() const override;
  absl::StatusOr<std::string> Tenant() const override;
  void AddMetadata(const Metadata& metadata) override;
  void SendMetadata() override { StartSendInitialMetadata(); }
  void Write(std::string message, Next next) override;
  void Finish(const absl::Status& status) override;
  void Reset() override { context_.TryCancel(); }

 private:
  grpc::CallbackServerContext& context_;
  Identity identity_;
  std::unique_ptr<Call> call_;
  grpc::ByteBuffer request_;
  std::optional<BufferPieces> pieces_;  // of the request, unpacked
  grpc::ByteBuffer sent_;               // being written
};

CallStart StartOf(Rpc& rpc, const grpc::CallbackServerContext& context, std::string_view method);

RpcReactor* RefuseUnread(Rpc* rpc, const grpc::CallbackServerContext& context, const CallParts& parts,
                         std::string_view method, const absl::Status& status);

// What a handler returns: an RPC with a call of type AnyCall, made of these, which began to receive. One whose caller
// may not do that is refused before.
template <class AnyCall, class... Arguments>
RpcReactor* StartRpc(grpc::CallbackServerContext& context, const CallParts& parts, std::string_view method,
                     Arguments&&... arguments) {
  auto* rpc = new Rpc(context);
  const absl::Status status = rpc->Identify(parts.entrance, method);
  if (!status.ok()) return RefuseUnread(rpc, context, parts, method, status);
  auto call = std::make_unique<AnyCall>(StartOf(*rpc, context, method), parts, std::forward<Arguments>(arguments)...);
  rpc->Own(std::move(call)).Receive();
  return rpc;
}

// An RPC whose request is not received, since it does not matter what it says. Who may not even ask is told that.
RpcReactor* RefuseUnread(grpc::CallbackServerContext& context, const CallParts& parts, std::string_view method,
                         const absl::Status& status);

}  // namespace latentd
