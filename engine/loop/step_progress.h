// How far the engine thread has come, for a watchdog: it writes, any thread reads.
#pragma once

#include <atomic>
#include <cstdint>

namespace latentd {

class StepProgress {
 public:
  // Engine thread: it has something to do, a step is over, there is nothing to do until the next command.
  void Begin() { has_work_.store(true, std::memory_order_relaxed); }
  void FinishStep() { num_steps_.fetch_add(1, std::memory_order_relaxed); }
  void Rest() { has_work_.store(false, std::memory_order_relaxed); }

  bool has_work() const { return has_work_.load(std::memory_order_relaxed); }
  uint64_t num_steps() const { return num_steps_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> has_work_{false};
  std::atomic<uint64_t> num_steps_{0};
};

}  // namespace latentd
