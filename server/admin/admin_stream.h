// The answer of Drain and WatchLoad: a source says what to write and when to be asked again. Pumped by the Admin
// service's egress thread; a reader that takes nothing holds one message, until it ends with SLOW_CONSUMER.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <absl/status/statusor.h>

#include "base/clock.h"
#include "server/api/message_bytes.h"
#include "server/call/call.h"
#include "server/call/egress.h"

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

class AdminStream final : public Call {
 public:
  struct Turn {
    std::optional<std::string> message = {};
    bool is_last = false;  // OK follows
    TimePoint next = kNever;
  };
  // Asked on the egress thread whenever the stream can be written to and is due, or was woken.
  using Source = std::function<Turn(TimePoint now)>;
  // From the request to what is told; on a thread of the pool.
  using Opener = std::function<absl::StatusOr<Source>(MessageBytes request)>;

  // `open` outlives the call.
  AdminStream(CallStart start, const CallParts& parts, OpenStreams& open, Opener opener)
      : Call(std::move(start), parts), open_(open), opener_(std::move(opener)) {}

 private:
  void Handle(MessageBytes request) override;
  void Detach() override { open_.Remove(slot_); }
  Supply Fill(WireState wire, TimePoint now, Messages& messages) override;
  void WireBroke() override { is_broken_ = true; }

  OpenStreams& open_;
  const Opener opener_;

  // The egress thread only, once opened.
  Source source_;
  bool is_complete_ = false;

  std::atomic<bool> is_broken_ = false;  // nothing can be told any more
};

}  // namespace latentd
