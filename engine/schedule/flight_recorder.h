// The engine's last decisions, in a ring: the oldest makes room for the newest. Owned by the Scheduler. The engine
// thread alone writes, without a lock, an allocation or a clock; any thread may read at any time, even while the engine
// is stuck or the process ends: a reader drops what was overwritten while it read.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/schedule/flight_entry.h"

namespace latentd {

class FlightRecorder {
 public:
  // A power of two. 40 bytes each.
  explicit FlightRecorder(size_t num_entries);
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  // The engine thread. What is recorded from here on happened at `now`.
  void SetTime(TimePoint now) { nanoseconds_ = Duration(now.time_since_epoch()).count(); }
  void Record(FlightDecision decision, SequenceId sequence, const std::array<int32_t, 4>& numbers = {});

  // Any thread.
  size_t num_entries() const { return size_t{mask_} + 1; }
  uint64_t num_recorded() const { return num_recorded_.load(std::memory_order_acquire); }
  // Entry `number`, counted from 0 over all that were ever recorded. False where the ring has it no longer, or not yet.
  bool Read(uint64_t number, FlightEntry& entry) const;
  // The last ones before entry `end`, which is num_recorded() or was: at most `most`, the oldest of them first.
  std::vector<FlightEntry> Before(uint64_t end, size_t most) const;

 private:
  // An entry in words that can be written and read one by one.
  static constexpr size_t kWords = 5;
  using Words = std::array<std::atomic<uint64_t>, kWords>;

  const uint64_t mask_;
  const std::unique_ptr<Words[]> ring_;
  std::atomic<uint64_t> num_recorded_ = 0;

  int64_t nanoseconds_ = 0;  // the engine thread only
};

}  // namespace latentd
