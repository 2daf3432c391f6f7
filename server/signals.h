// What ends the daemon, as something to wait for: SIGTERM and SIGINT, from the construction on (before it they end the
// process at once), or a StopRequest from inside. Threads that start later inherit the blocked mask; those that run
// already must take no signals, as ThreadPool's.
#pragma once

#include <optional>

namespace latentd {

// Asks the main thread to end the daemon. Any thread.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  void Send();

 private:
  friend class StopSignal;
  const int event_;
};

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // Waits for the first signal, and gives its number, or for a request: nothing then.
  std::optional<int> Await(const StopRequest& request);
  // The first signal if it came since; never waits. From the first signal on, another one ends the process at once.
  std::optional<int> Take();

 private:
  const int signals_;
};

}  // namespace latentd
