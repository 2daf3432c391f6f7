// An RPC of the services that gRPC's tools expect, health and reflection: small messages, answered at once by the
// thread that hands them over, outside of the intake and of the pool, so that neither can make them wait. It holds a
// place from its headers on, since a client may leave it open for ever. Deletes itself.
#pragma once

#include <mutex>
#include <string>

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/grpc/rpc.h"
#include "server/net/stream_places.h"

namespace latentd {

inline constexpr size_t kMaxSmallMessageBytes = 4 << 10;

class SmallRpc : public RpcReactor, public StreamPlaces::Holder {
 public:
  // From the handler, once: reads, or refuses where there is no place.
  void Begin();

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;
  void MakeRoom() final;

 protected:
  SmallRpc(grpc::CallbackServerContext& context, StreamPlaces& places);
  ~SmallRpc() override = default;

  // The next message. Calls are never concurrent, but for Written with the others.
  virtual void Handle(const std::string& message) = 0;
  // The client sends no more, before the RPC ended.
  virtual void HandleEnd() = 0;
  // The last Write is over, and the RPC is not.
  virtual void Written() {}
  // The RPC is over; no other object may call it after this.
  virtual void Leave() {}

  // All of these do nothing once the RPC ended. One read and one write at a time.
  void Read();
  void Write(const google::protobuf::Message& message);
  bool is_writing() const;
  void End(const grpc::Status& status);
  void EndWith(const google::protobuf::Message& message);

  // Instead of the place that it has. False: it was ended for want of one.
  bool MoveTo(StreamPlaces& places);

 private:
  grpc::CallbackServerContext& context_;
  StreamPlaces* places_;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer sent_;

  mutable std::mutex mutex_;  // guards both below, and what begins with gRPC
  bool has_ended_ = false;
  bool is_writing_ = false;
};

// One that is refused from its headers on: it holds no place. Deletes itself.
class RefusedRpc final : public RpcReactor {
 public:
  explicit RefusedRpc(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

// What a handler returns.
template <class Call, class... Arguments>
RpcReactor* Begun(Arguments&&... arguments) {
  auto* call = new Call(std::forward<Arguments>(arguments)...);
  call->Begin();
  return call;
}

}  // namespace latentd
