// A gRPC service whose methods get the bytes of requests, from the moment that an RPC's headers are there. The
// generated services can't do that: gRPC reads the whole message of a method with one request before it calls a
// handler, whatever it takes and however long. So every method is registered as a stream of bytes in both directions.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include <google/protobuf/descriptor.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/server_callback.h>

#include "server/grpc/rpc.h"

namespace latentd {

class ByteService : public grpc::Service {
 public:
  using Handler = std::function<RpcReactor*(grpc::CallbackServerContext*)>;

 protected:
  // `service` is the one of the .proto file.
  explicit ByteService(const google::protobuf::ServiceDescriptor& service) : service_(service) {}

  // Before the server starts, once for each method.
  void Register(const std::string& method, Handler handler);
  // CHECKs that each method of the .proto file has a handler.
  void CheckComplete() const;

 private:
  const google::protobuf::ServiceDescriptor& service_;
  std::deque<std::string> paths_;  // gRPC keeps pointers to them
};

}  // namespace latentd
