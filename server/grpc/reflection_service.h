// Server reflection, v1 and v1alpha: what tools such as grpcurl ask to learn the API. gRPC's own holds a thread for
// each open stream. Answers come from the descriptors that the program is linked with, one at a time: a client that
// reads nothing is asked for nothing. Owned by GrpcServer; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "server/access/authority.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace latentd {

inline constexpr size_t kMaxReflectionStreams = 64;

// One service for each version. `service_names` are those that are listed, besides themselves.
// Descriptors are public; who has no credential, where one is asked for, gets none all the same: they cost time.
std::vector<std::unique_ptr<grpc::Service>> MakeReflectionServices(std::vector<std::string> service_names,
                                                                   const Entrance& entrance);

}  // namespace latentd
