// VllmEngine.FlushCache: waits, without holding a thread, until no request is live or its time is over, then until the
// engine has forgotten what it cached. Deletes itself when gRPC is done.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "server/admin/engine_reply.h"
#include "server/api/message_bytes.h"
#include "server/call/call.h"
#include "server/call/serving_gate.h"

namespace latentd {

class IdleFlush final : public Call {
 public:
  // `gate` outlives the call.
  IdleFlush(CallStart start, const CallParts& parts, const ServingGate& gate)
      : Call(std::move(start), parts), gate_(gate) {}

 private:
  void Handle(MessageBytes request) override;
  void Pump() override;
  void Detach() override { reply_->Forget(); }

  void Ask();

  using Reply = EngineReply<int64_t>;  // blocks freed

  const ServingGate& gate_;
  const std::shared_ptr<Reply> reply_ = std::make_shared<Reply>();
  const ModelInService* serving_ = nullptr;  // once handled
  float timeout_seconds_ = 0.0f;

  bool has_asked_ = false;  // the egress thread only
};

}  // namespace latentd
