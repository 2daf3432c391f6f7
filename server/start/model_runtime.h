// All that runs once a model is loaded: the executor, the publisher, the engine's thread and the requests in it. Owned
// by the Daemon; outlives every server that was given serving().
#pragma once

#include <memory>

#include "base/clock.h"
#include "engine/load/load_model.h"
#include "engine/loop/engine_thread.h"
#include "engine/loop/publisher_thread.h"
#include "engine/metrics.h"
#include "engine/step/model_executor.h"
#include "engine/step/timed_executor.h"
#include "server/api/served_model.h"
#include "server/call/live_requests.h"
#include "server/call/serving_gate.h"
#include "server/config/config.h"
#include "server/process/flight_dumps.h"
#include "server/process/invariant_alarm.h"

namespace latentd {

class ModelRuntime {
 public:
  struct Output {
    Metrics& metrics;
    InvariantAlarm& alarm;
    FlightDumps& dumps;
    size_t max_backlog_bytes = 0;  // of all readers
  };
  // `clock` and the output must outlive it.
  ModelRuntime(std::unique_ptr<LoadedModel> loaded, const Config& config, const Clock& clock, const Output& output);

  const LoadedModel& loaded() const { return *loaded_; }  // without its text, which served() has
  const ServedModel& served() const { return served_; }
  EngineThread& engine() { return engine_; }
  const ModelInService& serving() const { return serving_; }

 private:
  const std::unique_ptr<LoadedModel> loaded_;
  const ServedModel served_;
  ModelExecutor model_executor_;
  TimedExecutor executor_;
  PublisherThread publisher_;
  EngineThread engine_;
  LiveRequests live_;
  const ModelInService serving_;
};

}  // namespace latentd
