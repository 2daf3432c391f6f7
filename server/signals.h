// SIGTERM and SIGINT as something to wait for, from the construction on; before it they end the process at once.
// Threads that start later inherit the blocked mask; those that run already must take no signals, as ThreadPool's.
#pragma once

namespace latentd {

class StopSignal {
 public:
  StopSignal();
  // Waits for the first SIGTERM or SIGINT and returns its number. From then on another one ends the process at once.
  int Await();
};

}  // namespace latentd
