// The daemon's load, as Admin.GetLoad reports it. Samples the metrics once a second on a thread of its own, so
// that rates over the last ten seconds are there for every request. Owned by Serve(); Read by any thread.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/metrics.h"
#include "latentd/v1/admin.pb.h"
#include "server/admin/load_window.h"
#include "server/call/serving_gate.h"

namespace latentd {

class LoadMonitor {
 public:
  // Both references must outlive it.
  LoadMonitor(const Metrics& metrics, const ServingGate& gate);
  ~LoadMonitor();

  // All but `draining`.
  v1::Load Read() const;

 private:
  void Run();

  const Metrics& metrics_;
  const ServingGate& gate_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable closing_;
  LoadWindow window_;
  bool is_closed_ = false;
  std::thread thread_;
};

}  // namespace latentd
