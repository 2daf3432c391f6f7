// The answer of ListRequests: waits, without holding a thread, until the engine has said where its sequences stand.
// Deletes itself when gRPC is done.
#pragma once

#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/clock.h"
#include "engine/sequence_status.h"
#include "latentd/v1/admin.pb.h"
#include "server/egress.h"
#include "server/live_call.h"
#include "server/live_requests.h"

namespace latentd {

// Oldest first. What the engine knows nothing of (any more) is being delivered.
v1::ListRequestsResult MergeStatus(const std::vector<LiveRequest>& live, const std::vector<SequenceStatus>& in_engine,
                                   TimePoint now);

class RequestList final : public grpc::ServerUnaryReactor {
 public:
  // `egress` and `live` outlive the RPC.
  RequestList(Egress& egress, CallRecord record, grpc::ByteBuffer& response);

  void Start(grpc::CallbackServerContext& context, LiveRequests& live);
  void OnDone() override { egress_.Done(slot_); }

 private:
  void Answer();

  Egress& egress_;
  CallRecord record_;
  grpc::ByteBuffer& response_;
  Egress::Slot slot_;
  std::vector<LiveRequest> live_;
  std::vector<SequenceStatus> in_engine_;  // written by the engine thread before it wakes the slot
};

}  // namespace latentd
