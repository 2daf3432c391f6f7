// The answer of Drain and WatchLoad: a source says what to write and when to be asked again. Written by the Admin
// service's egress thread, one write at a time; a reader that takes nothing holds one message. Deletes itself when gRPC
// is done.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/clock.h"
#include "server/egress.h"
#include "server/live_call.h"

namespace latentd {

// The streams that are open, to be woken together. Any thread.
class OpenStreams {
 public:
  explicit OpenStreams(Egress& egress) : egress_(egress) {}

  Egress& egress() { return egress_; }
  void Add(Egress::Slot& slot) {
    std::lock_guard lock(mutex_);
    slots_.insert(&slot);
  }
  void Remove(Egress::Slot& slot) {
    std::lock_guard lock(mutex_);
    slots_.erase(&slot);
  }
  void WakeAll() {
    std::lock_guard lock(mutex_);
    for (Egress::Slot* slot : slots_) egress_.Wake(*slot);
  }

 private:
  Egress& egress_;
  std::mutex mutex_;
  std::set<Egress::Slot*> slots_;
};

class AdminStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  struct Turn {
    std::optional<grpc::ByteBuffer> message = {};
    bool is_last = false;  // OK follows
    TimePoint next = kNever;
  };
  // Asked on the egress thread whenever the stream can be written to and is due, or was woken.
  using Source = std::function<Turn(TimePoint now)>;

  // `open` outlives the RPC.
  AdminStream(OpenStreams& open, CallRecord record);

  // Exactly one of the two, from the handler, once.
  void Start(grpc::CallbackServerContext& context, Source source);
  void Refuse(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Pump();
  void End(const absl::Status& status);

  OpenStreams& open_;
  CallRecord record_;
  Egress::Slot slot_;

  // Of the egress thread, once started.
  Source source_;
  grpc::ByteBuffer buffer_;  // of the write in flight
  bool is_complete_ = false;
  bool has_ended_ = false;

  std::atomic<bool> is_writing_ = false;  // set by the egress thread, cleared by gRPC's
  std::atomic<bool> is_broken_ = false;   // nothing can be written any more
};

}  // namespace latentd
