// A broken invariant of the engine ends the daemon: it is counted and told in one line, the flight recorder is saved,
// health says NOT_SERVING, requests in flight get a drain's time, and the process ends as a failure. Owned by the
// Daemon; any thread.
#pragma once

#include <mutex>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/schedule/flight_recorder.h"
#include "server/process/drain_state.h"
#include "server/process/flight_dumps.h"
#include "server/process/serving_state.h"
#include "server/process/signals.h"

namespace latentd {

class InvariantAlarm {
 public:
  // All outlive it.
  struct Parts {
    Metrics& metrics;
    ServingState& state;
    DrainState& drain;
    StopRequest& stop;
    double drain_seconds = 0.0;
  };
  explicit InvariantAlarm(const Parts& parts) : parts_(parts) {}

  void Raise(const absl::Status& broken, const FlightRecorder& recorder, FlightDumps& dumps);
  // Why the process has failed; OK unless it has.
  absl::Status status() const;

 private:
  const Parts parts_;

  mutable std::mutex mutex_;
  absl::Status status_;  // guarded by mutex_: the first one
};

}  // namespace latentd
