#include "server/process/stall_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

namespace latentd {
namespace {

// A stall is seen this much of stall_seconds late at most.
constexpr int kChecksPerStall = 4;
constexpr Duration kLongestPause = std::chrono::seconds(1);
constexpr Duration kShortestPause = std::chrono::milliseconds(1);

}  // namespace

StallRule::StallRule(const StepProgress& progress, double stall_seconds, TimePoint now)
    : progress_(progress), patience_(FromSeconds(stall_seconds)), num_steps_(progress.num_steps()), moved_(now) {}

EngineHealth StallRule::Check(TimePoint now) {
  const uint64_t num_steps = progress_.num_steps();
  if (!progress_.has_work() || num_steps != num_steps_) moved_ = now;
  num_steps_ = num_steps;
  return now - moved_ >= patience_ ? EngineHealth::kStalled : EngineHealth::kMoving;
}

StallWatch::StallWatch(const StepProgress& progress, const Clock& clock, Metrics& metrics, StallWatchOptions options)
    : clock_(clock),
      metrics_(metrics),
      options_(std::move(options)),
      rule_(progress, options_.stall_seconds, clock.Now()),
      thread_([this] { Run(); }) {}

StallWatch::~StallWatch() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    stopped_.notify_one();
  }
  thread_.join();
}

void StallWatch::Run() {
  const Duration pause =
      std::clamp(FromSeconds(options_.stall_seconds) / kChecksPerStall, kShortestPause, kLongestPause);
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, pause, [this] { return is_stopping_; })) {
    const TimePoint now = clock_.Now();
    if (options_.on_look) options_.on_look(now);
    const EngineHealth health = rule_.Check(now);
    if (health != health_) Become(health);
  }
}

void StallWatch::Become(EngineHealth health) {
  health_ = health;
  const bool stalled = health == EngineHealth::kStalled;
  metrics_.Update([stalled](MetricsData& data) {
    if (stalled) ++data.engine_stalls;
    if (data.state != ServerState::kDraining) data.state = stalled ? ServerState::kStalled : ServerState::kServing;
  });
  if (stalled) {
    spdlog::error("engine: no step finished for {} s although there is work; not serving until one does",
                  options_.stall_seconds);
  } else {
    spdlog::warn("engine: steps go on, serving again");
  }
  options_.on_change(health);
}

}  // namespace latentd
