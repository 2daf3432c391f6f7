// Between the services, which listen from the first moment, and the model, which takes its time to load: closed until
// then, opened once. Any thread.
#pragma once

#include <atomic>

#include <absl/status/status.h>

#include "base/clock.h"
#include "server/api/served_model.h"
#include "server/api/status.h"
#include "server/call/live_requests.h"
#include "server/process/load_progress.h"

namespace latentd {

class ProfiledOps;

// What the services need to serve.
struct ModelInService {
  const ServedModel& model;
  LiveRequests& live;
  ProfiledOps* profiled_ops = nullptr;  // null where steps can't be profiled: on a GPU
};

class ServingGate {
 public:
  // `progress` must outlive it.
  explicit ServingGate(const LoadProgress& progress) : progress_(progress) {}

  // `serving`, and all that it refers to, outlives every server.
  void Open(const ModelInService& serving) { serving_.store(&serving, std::memory_order_release); }

  // Null while it is closed: refuse with Loading().
  const ModelInService* Find() const { return serving_.load(std::memory_order_acquire); }
  absl::Status Loading() const {
    const BytesRead bytes = progress_.Latest();
    return latentd::Loading({.loaded_bytes = bytes.read,
                             .total_bytes = bytes.total,
                             .text = StageText(bytes),
                             .left = FromSeconds(SecondsLeft(bytes))});
  }
  BytesRead progress() const { return progress_.Latest(); }

 private:
  const LoadProgress& progress_;
  std::atomic<const ModelInService*> serving_{nullptr};
};

}  // namespace latentd
