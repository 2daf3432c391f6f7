// How far the end of this process has come: one state for signals and Admin.Drain alike. The main thread moves it on;
// any thread reads it.
#pragma once

#include <mutex>

#include "base/clock.h"

namespace latentd {

class DrainState {
 public:
  enum class Stage {
    kServing,
    kAsked,     // the main thread will see to it
    kDraining,  // new requests are refused, those in flight go on
    kOver,      // none is left
  };

  // Requests in flight may go on until `deadline`. The first one counts; false for all later ones, which join it.
  bool Ask(TimePoint deadline) {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kServing) return false;
    stage_ = Stage::kAsked;
    deadline_ = deadline;
    return true;
  }
  // Only ever to an earlier one.
  void Shorten(TimePoint deadline) {
    std::lock_guard lock(mutex_);
    if (deadline < deadline_) deadline_ = deadline;
  }
  void MoveTo(Stage stage) {
    std::lock_guard lock(mutex_);
    stage_ = stage;
  }

  Stage stage() const {
    std::lock_guard lock(mutex_);
    return stage_;
  }
  TimePoint deadline() const {
    std::lock_guard lock(mutex_);
    return deadline_;
  }

 private:
  mutable std::mutex mutex_;
  Stage stage_ = Stage::kServing;
  TimePoint deadline_ = kNever;
};

}  // namespace latentd
