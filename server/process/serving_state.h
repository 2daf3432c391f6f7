// Whether the daemon serves: the one state that the health of each gRPC server and /ready of the metrics port tell. The
// main thread and the stall watch move it on; the acceptors say whether clients get in. Owned by the Daemon; any
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

#include "server/net/connection_table.h"

namespace latentd {

class ServingState {
 public:
  enum class Stage : uint8_t { kLoading, kServing, kStalled, kDraining };

  // The state at one moment.
  struct View {
    Stage stage = Stage::kLoading;
    std::array<bool, kNumListenerKinds> is_deaf{};  // the system has no descriptor for a connection

    bool Accepts(ListenerKind kind) const { return !is_deaf[static_cast<size_t>(kind)]; }
    bool AcceptsAll() const { return is_deaf == decltype(is_deaf){}; }
    // The API takes new clients and their requests.
    bool is_ready() const { return stage == Stage::kServing && Accepts(ListenerKind::kApi); }
  };
  using Observer = std::function<void(const View&)>;

  // kDraining is final.
  void MoveTo(Stage stage);
  void SetHearing(ListenerKind kind);
  void SetDeaf(ListenerKind kind);
  View view() const;

  // `observer` hears of the state as it is and of each change in turn, until its owner is forgotten. It asks nothing of
  // this object.
  void Observe(const void* owner, Observer observer);
  void Forget(const void* owner);

 private:
  void Tell() const;  // with mutex_ held

  mutable std::mutex mutex_;  // guards all below
  View view_;
  std::map<const void*, Observer> observers_;
};

}  // namespace latentd
