// The answer of ListRequests: waits, without holding a thread, until the engine has said where its sequences stand.
// Deletes itself when gRPC is done.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/step/sequence_status.h"
#include "latentd/v1/admin.pb.h"
#include "server/admin/engine_reply.h"
#include "server/api/message_bytes.h"
#include "server/call/call.h"
#include "server/call/live_requests.h"
#include "server/call/serving_gate.h"

namespace latentd {

// Oldest first. What the engine knows nothing of (any more) is being delivered.
v1::ListRequestsResult MergeStatus(const std::vector<LiveRequest>& live, const std::vector<SequenceStatus>& in_engine,
                                   TimePoint now);

class RequestList final : public Call {
 public:
  // `gate` outlives the call.
  RequestList(CallStart start, const CallParts& parts, const ServingGate& gate)
      : Call(std::move(start), parts), gate_(gate) {}

 private:
  void Handle(MessageBytes request) override;
  void Pump() override;
  void Detach() override;

  const ServingGate& gate_;
  std::vector<LiveRequest> listed_;
  using Reply = EngineReply<std::vector<SequenceStatus>>;
  const std::shared_ptr<Reply> reply_ = std::make_shared<Reply>();
};

}  // namespace latentd
