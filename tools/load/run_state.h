// State that the lanes of a run share: its clock, its bounds and the counters that the progress line shows. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

namespace latentd {

struct RunCounters {
  std::atomic<int64_t> in_flight{0};
  std::atomic<uint64_t> finished{0};
  std::atomic<uint64_t> failed{0};  // not as the mix planned
  std::atomic<uint64_t> output_tokens{0};
};

struct RunBounds {
  uint64_t max_requests = 0;
  double duration_seconds = 0.0;
  uint64_t requests_at_once = 1;  // that belong together and have indices behind each other: a conversation's turns
};

class RunState {
 public:
  explicit RunState(const RunBounds& bounds)
      : bounds_(bounds), duration_(static_cast<int64_t>(bounds.duration_seconds * 1e9)) {}

  // Nanoseconds since the start of the run.
  int64_t Now() const { return std::chrono::nanoseconds(std::chrono::steady_clock::now() - started_).count(); }
  std::chrono::steady_clock::time_point MomentOf(int64_t nanoseconds) const {
    return started_ + std::chrono::nanoseconds(nanoseconds);
  }

  // The index of the next request, of those at once the first; none where the run's bounds are reached or the user
  // ended it.
  std::optional<uint64_t> TakeIndex(int64_t intended_start) {
    if (!is_stopping_ && intended_start < duration_) {
      const uint64_t index = next_index_.fetch_add(bounds_.requests_at_once);
      if (index < bounds_.max_requests) return index;
    }
    EndSending();
    return std::nullopt;
  }
  // Whether a request that follows one of its own may be sent.
  bool MayFollow(uint64_t index, int64_t intended_start) const {
    return !is_stopping_ && intended_start < duration_ && index < bounds_.max_requests;
  }

  // Until then requests compete; what is served later has the server to itself.
  void EndSending() {
    int64_t none = kStillSending;
    sending_ended_.compare_exchange_strong(none, Now());
  }
  bool IsSending(int64_t now) const { return now < sending_ended_.load(std::memory_order_relaxed); }

  void Stop() { is_stopping_ = true; }
  bool is_stopping() const { return is_stopping_; }

  RunCounters counters;

 private:
  static constexpr int64_t kStillSending = std::numeric_limits<int64_t>::max();

  const RunBounds bounds_;
  const int64_t duration_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<uint64_t> next_index_{0};
  std::atomic<int64_t> sending_ended_{kStillSending};
  std::atomic<bool> is_stopping_{false};
};

}  // namespace latentd
