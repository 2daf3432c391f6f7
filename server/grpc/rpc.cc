#include "server/grpc/rpc.h"

#include <utility>

#include "server/grpc/call_context.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/inflate.h"
#include "server/net/connection_table.h"
#include "server/net/message_limit.h"
#include "server/net/peer.h"

namespace latentd {

absl::StatusOr<MessageBytes> Rpc::Unpack() {
  if (absl::Status status = UnpackMessage(context_, kMaxMessageBytes, &request_); !status.ok()) return status;
  absl::StatusOr<BufferPieces> pieces = BufferPieces::Of(request_);
  if (!pieces.ok()) return pieces.status();
  return pieces_.emplace(*std::move(pieces)).bytes();
}

void Rpc::DropMessage() {
  pieces_.reset();
  request_.Clear();
}

bool Rpc::IsCancelled() const {
  if (context_.IsCancelled()) return true;
  const Peer peer = ReadablePeer(context_.peer());
  return ConnectionTable::OfProcess().SendingOf(peer.connection) == Sending::kOver;
}

absl::StatusOr<size_t> Rpc::AcceptedAnswerBytes() const { return latentd::AcceptedAnswerBytes(context_); }

absl::Status Rpc::Identify(const Entrance& entrance, std::string_view method) {
  absl::StatusOr<Identity> identity = latentd::Identify(ShownBy(context_), method, entrance);
  if (!identity.ok()) return identity.status();
  identity_ = *std::move(identity);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Rpc::Tenant() const { return identity_.is_known ? identity_.tenant : TenantOf(context_); }

void Rpc::AddMetadata(const Metadata& metadata) { AddInitialMetadata(metadata, context_); }

void Rpc::Write(std::string message, Next next) {
  grpc::WriteOptions options;
  if (next == Next::kMessage) options.set_buffer_hint();
  if (next == Next::kEnd) options.set_write_through();  // else it would be over once gRPC has room for it
  sent_ = IntoBuffer(std::move(message));
  StartWrite(&sent_, options);
}

void Rpc::Finish(const absl::Status& status) { RpcReactor::Finish(ToGrpcStatus(status, context_)); }

CallStart StartOf(Rpc& rpc, const grpc::CallbackServerContext& context, std::string_view method) {
  CallOrigin origin = OriginOf(context);
  origin.credential = rpc.identity().name;
  return {.wire = rpc, .method = method, .origin = std::move(origin), .deadline = DeadlineOf(context)};
}

RpcReactor* RefuseUnread(Rpc* rpc, const grpc::CallbackServerContext& context, const CallParts& parts,
                         std::string_view method, const absl::Status& status) {
  rpc->Own(std::make_unique<UnreadCall>(StartOf(*rpc, context, method), parts)).Refuse(status);
  return rpc;
}

RpcReactor* RefuseUnread(grpc::CallbackServerContext& context, const CallParts& parts, std::string_view method,
                         const absl::Status& status) {
  auto* rpc = new Rpc(context);
  const absl::Status of_caller = rpc->Identify(parts.entrance, method);
  return RefuseUnread(rpc, context, parts, method, of_caller.ok() ? status : of_caller);
}

}  // namespace latentd
