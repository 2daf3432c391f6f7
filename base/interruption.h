// Long work on text whose client has left ends early: the caller that starts the work names the flag that asks for its
// end, and loops over the text look there. Each thread has its own; without a flag nothing is interrupted.
#pragma once

#include <atomic>

#include <absl/status/status.h>

namespace latentd {

namespace internal {
inline thread_local const std::atomic<bool>* interruption_asked = nullptr;
}

// For as long as it lives, this thread's work is interrupted once `asked`, which must outlive it.
class Interruptible {
 public:
  explicit Interruptible(const std::atomic<bool>& asked) : before_(internal::interruption_asked) {
    internal::interruption_asked = &asked;
  }
  ~Interruptible() { internal::interruption_asked = before_; }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  const std::atomic<bool>* const before_;
};

inline bool IsInterrupted() {
  return internal::interruption_asked != nullptr && internal::interruption_asked->load(std::memory_order_relaxed);
}

inline absl::Status Interrupted() { return absl::CancelledError("the request that this was for has ended"); }

}  // namespace latentd
