// What gRPC's context of an RPC says, for the rooms that do not know gRPC.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>
#include <grpcpp/server_context.h>

#include "base/clock.h"
#include "server/access/authority.h"
#include "server/call/call_origin.h"
#include "server/call/wire.h"

namespace latentd {

// What gRPC calls a peer, with the brackets of IPv6 that it escapes as in a URI.
std::string ReadablePeer(const std::string& peer);
// Its header authorization, and the names of its certificate. Refers to the context.
Shown ShownBy(const grpc::CallbackServerContext& context);
CallOrigin OriginOf(const grpc::CallbackServerContext& context);
// kNever where the client set none, or one that is further away than the clock reaches.
TimePoint DeadlineOf(const grpc::CallbackServerContext& context);
// How large an answer the client says it takes. INVALID_ARGUMENT where that is no number.
absl::StatusOr<size_t> AcceptedAnswerBytes(const grpc::CallbackServerContext& context);
// Empty where the client names none. INVALID_ARGUMENT where it names one wrongly, or several.
absl::StatusOr<std::string> TenantOf(const grpc::CallbackServerContext& context);
void AddInitialMetadata(const Metadata& metadata, grpc::CallbackServerContext& context);

}  // namespace latentd
