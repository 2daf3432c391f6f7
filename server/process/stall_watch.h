// Sees an engine that has work and finishes no step: then the daemon is not ready, whatever its sockets say, until
// steps go on. A thread of its own; knows the engine only by its StepProgress.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "engine/loop/step_progress.h"
#include "engine/metrics.h"

namespace latentd {

enum class EngineHealth : uint8_t { kMoving, kStalled };

struct StallWatchOptions {
  double stall_seconds = 30.0;
  // Both on the watch's thread; the second one, if any, at each look, once a second or more often.
  std::function<void(EngineHealth)> on_change;
  std::function<void(TimePoint now)> on_look = {};
};

// The rule, without a thread. One thread at a time.
class StallRule {
 public:
  StallRule(const StepProgress& progress, double stall_seconds, TimePoint now);
  EngineHealth Check(TimePoint now);

 private:
  const StepProgress& progress_;
  const Duration patience_;
  uint64_t num_steps_;
  TimePoint moved_;  // the last time that it rested or had finished another step
};

class StallWatch {
 public:
  // All references must outlive it.
  StallWatch(const StepProgress& progress, const Clock& clock, Metrics& metrics, StallWatchOptions options);
  ~StallWatch();  // joins; no on_change after this

 private:
  void Run();
  void Become(EngineHealth health);

  const Clock& clock_;
  Metrics& metrics_;
  const StallWatchOptions options_;
  StallRule rule_;
  EngineHealth health_ = EngineHealth::kMoving;

  std::mutex mutex_;
  std::condition_variable stopped_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace latentd
