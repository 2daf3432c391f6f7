// Ends an RPC whose client leaves the last bytes of its answer unread: they would keep their memory and their stream
// for as long as the connection lives. Owned by the Rpc.
#pragma once

#include <mutex>

#include <grpcpp/server_context.h>

#include "base/clock.h"
#include "server/call/egress.h"

namespace latentd {

class CutOff {
 public:
  // All references outlive the RPC.
  CutOff(grpc::CallbackServerContext& context, Egress& egress, Egress::Slot& slot)
      : context_(context), egress_(egress), slot_(slot) {}

  // Any thread, before Finish: the RPC is cancelled by a pump at `due`, unless it is over by then.
  void Arm(TimePoint due) {
    {
      std::lock_guard lock(mutex_);
      due_ = due;
    }
    egress_.WakeAt(slot_, due);
  }
  // Egress thread, at each pump that follows.
  void CancelIfDue(TimePoint now) {
    std::lock_guard lock(mutex_);
    if (due_ == kNever || is_over_) return;
    if (now < due_) return egress_.WakeAt(slot_, due_);  // the alarm was one of an earlier stage
    due_ = kNever;
    context_.TryCancel();
  }
  // From OnDone, after which gRPC may take the context away.
  void Disarm() {
    std::lock_guard lock(mutex_);
    is_over_ = true;
  }

 private:
  grpc::CallbackServerContext& context_;
  Egress& egress_;
  Egress::Slot& slot_;

  std::mutex mutex_;  // guards both below
  TimePoint due_ = kNever;
  bool is_over_ = false;
};

}  // namespace latentd
