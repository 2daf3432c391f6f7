// What the RPCs that run the model have in common: how their requests are admitted.
#pragma once

#include <functional>
#include <string_view>

#include <absl/status/statusor.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/clock.h"
#include "latentd/v1/models.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/request_validation.h"
#include "server/call/live_requests.h"

namespace latentd {

// From the bytes of a request to what the engine runs. On a thread of the pool.
using Admission = std::function<absl::StatusOr<ValidRequest>(MessageBytes request, TimePoint received)>;

// What an RPC that runs the model needs to begin. All references outlive it.
struct EngineRpcParts {
  std::string_view method;
  const v1::Model& model;
  LiveRequests& live;
  Admission admit;
};

}  // namespace latentd
