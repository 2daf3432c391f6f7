// The daemon's statuses as gRPC sends them.
#pragma once

#include <absl/status/status.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

namespace latentd {

grpc::Status ToGrpcStatus(const absl::Status& status);
// The status that ends an RPC: the same, and where a retry makes sense later, the trailer that clients' retry policies
// obey.
grpc::Status ToGrpcStatus(const absl::Status& status, grpc::CallbackServerContext& context);

}  // namespace latentd
