// The ways to end the daemon: SIGTERM, SIGINT, SIGHUP, or a request from inside. The main thread takes the signals,
// from the first moment on, and does nothing else: so a signal never waits for the daemon's work, and a process with id
// 1, to which the kernel gives no signal's default action, ends like any other.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

namespace latentd {

// Asks the daemon to end. Any thread.
class StopRequest {
 public:
  void Send();
  void SendSignal(int number);

  // The number of the signal if one came since the last call.
  std::optional<int> TakeSignal();
  // Until it is sent, or `is_over`, whose maker calls Notify once it holds. True where it was sent.
  bool AwaitOr(const std::function<bool()>& is_over);
  void Notify();

 private:
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  bool is_sent_ = false;
  std::optional<int> signal_;
};

// Runs `body` on a thread of its own and gives its result. Meanwhile the first signal is sent to `stop`; the second
// one, unless it is SIGHUP, ends the process at once, after `last_act`. Called by main() before anything else has
// started a thread.
int RunUnderSignals(StopRequest& stop, const std::function<int()>& body, const std::function<void()>& last_act);

}  // namespace latentd
