// The answer of Drain and WatchLoad: a source says what to write and when to be asked again. Written by the Admin
// service's egress thread, one write at a time; a reader that takes nothing holds one message, until it ends with
// SLOW_CONSUMER.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/clock.h"
#include "server/api/message_bytes.h"
#include "server/call/egress.h"
#include "server/grpc/rpc.h"

namespace latentd {

// The streams that are open, to be woken together. Any thread.
class OpenStreams {
 public:
  explicit OpenStreams(Egress& egress) : egress_(egress) {}

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

class AdminStream final : public Rpc {
 public:
  struct Turn {
    std::optional<grpc::ByteBuffer> message = {};
    bool is_last = false;  // OK follows
    TimePoint next = kNever;
  };
  // Asked on the egress thread whenever the stream can be written to and is due, or was woken.
  using Source = std::function<Turn(TimePoint now)>;
  // From the request to what is told; on a thread of the pool.
  using Opener = std::function<absl::StatusOr<Source>(MessageBytes request)>;

  // `open` outlives the RPC.
  AdminStream(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method, OpenStreams& open,
              Opener opener)
      : Rpc(context, parts, method), open_(open), opener_(std::move(opener)) {}

  void OnWriteDone(bool ok) override;

 private:
  void Handle(MessageBytes request) override;
  void Pump() override;
  void Tell(Turn turn, TimePoint now);
  void ClientLeft() override;
  void Detach() override { open_.Remove(slot_); }

  OpenStreams& open_;
  const Opener opener_;

  // Of the egress thread, once opened.
  Source source_;
  grpc::ByteBuffer buffer_;  // of the write in flight
  TimePoint write_due_ = kNever;
  bool is_complete_ = false;

  std::atomic<bool> is_writing_ = false;  // set by the egress thread, cleared by gRPC's
  std::atomic<bool> is_broken_ = false;   // nothing can be written any more
};

}  // namespace latentd
