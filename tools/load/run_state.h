// State that the lanes of a run share: its clock, its bounds and the counters that the progress line shows. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace latentd {

struct RunCounters {
  std::atomic<int64_t> in_flight{0};
  std::atomic<uint64_t> finished{0};
  std::atomic<uint64_t> failed{0};  // not as the mix planned
  std::atomic<uint64_t> output_tokens{0};
};

class RunState {
 public:
  RunState(uint64_t max_requests, double duration_seconds)
      : max_requests_(max_requests), duration_(static_cast<int64_t>(duration_seconds * 1e9)) {}

  // Nanoseconds since the start of the run.
  int64_t Now() const { return std::chrono::nanoseconds(std::chrono::steady_clock::now() - started_).count(); }
  std::chrono::steady_clock::time_point MomentOf(int64_t nanoseconds) const {
    return started_ + std::chrono::nanoseconds(nanoseconds);
  }

  // The index of the next request; none where the run's bounds are reached or the user ended it.
  std::optional<uint64_t> TakeIndex(int64_t intended_start) {
    if (is_stopping_ || intended_start >= duration_) return std::nullopt;
    const uint64_t index = next_index_.fetch_add(1);
    if (index >= max_requests_) return std::nullopt;
    return index;
  }

  void Stop() { is_stopping_ = true; }
  bool is_stopping() const { return is_stopping_; }

  RunCounters counters;

 private:
  const uint64_t max_requests_;
  const int64_t duration_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<uint64_t> next_index_{0};
  std::atomic<bool> is_stopping_{false};
};

}  // namespace latentd
