// The answer of RPCs that the handler itself completes.
#pragma once

#include <utility>

#include <absl/status/statusor.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/live_call.h"
#include "server/status.h"
#include "server/wire_message.h"

namespace latentd {

template <class Result>
grpc::ServerUnaryReactor* AnswerNow(grpc::CallbackServerContext& context, CallRecord record,
                                    const absl::StatusOr<Result>& result, grpc::ByteBuffer& response) {
  if (result.ok()) {
    response = SerializeMessage(*result);
    record.EchoTrace(context);
  }
  record.Finish(result.status(), "ANSWERED");
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(result.status(), context));
  return reactor;
}

}  // namespace latentd
