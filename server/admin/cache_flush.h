// The answer of FlushPrefixCache: waits, without holding a thread, until the engine has forgotten what no request
// holds. Deletes itself when gRPC is done.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "server/admin/engine_reply.h"
#include "server/api/message_bytes.h"
#include "server/call/call.h"
#include "server/call/serving_gate.h"

namespace latentd {

class CacheFlush final : public Call {
 public:
  // `gate` outlives the call.
  CacheFlush(CallStart start, const CallParts& parts, const ServingGate& gate)
      : Call(std::move(start), parts), gate_(gate) {}

 private:
  void Handle(MessageBytes request) override;
  void Pump() override;
  void Detach() override { reply_->Forget(); }

  using Reply = EngineReply<int64_t>;  // blocks freed

  const ServingGate& gate_;
  const std::shared_ptr<Reply> reply_ = std::make_shared<Reply>();
};

}  // namespace latentd
