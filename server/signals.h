// SIGTERM and SIGINT as something to wait for. Construct before any other thread starts: they inherit the blocked mask.
#pragma once

namespace latentd {

class StopSignal {
 public:
  StopSignal();
  // Waits for the first SIGTERM or SIGINT and returns its number. From then on another one ends the process at once.
  int Await();
};

}  // namespace latentd
