// Owns everything: configuration, services, listeners, model and engine, and the order in which they start and stop.
// It listens from the first moment; the model loads on a thread of its own, and until it is there its calls are refused
// with LOADING.
#pragma once

#include <memory>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "server/access/access.h"
#include "server/call/egress.h"
#include "server/call/serving_gate.h"
#include "server/config/knobs.h"
#include "server/config/parse_config.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/models_service.h"
#include "server/grpc/reception.h"
#include "server/process/drain_state.h"
#include "server/process/flight_dumps.h"
#include "server/process/heap.h"
#include "server/process/invariant_alarm.h"
#include "server/process/load_progress.h"
#include "server/process/profile_file.h"
#include "server/process/serving_state.h"
#include "server/process/signals.h"
#include "server/process/stall_watch.h"
#include "server/smg/engine_service.h"
#include "server/start/listeners.h"
#include "server/start/model_runtime.h"
#include "server/traces/span_exporter.h"
#include "server/traces/span_queue.h"

namespace latentd {

class Daemon {
 public:
  // All references, and what `access` refers to, must outlive it. `started`: when the process did.
  Daemon(const ParsedConfig& parsed, const Access& access, StopRequest& stop, TimePoint started);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  // From listening to the end, by a signal or by Admin; an error says why it could not serve. Does not return where the
  // end is asked for while the model loads: loading cannot be stopped, so the process ends.
  absl::Status Run();

 private:
  // Those of the API.
  std::vector<NamedService> Services();
  absl::Status StartTraces();
  absl::StatusOr<std::unique_ptr<LoadedModel>> Load();
  absl::Status Open(std::unique_ptr<LoadedModel> loaded);
  void Watch();
  void ReportStart();
  void AwaitStop();
  void SetStage(DrainState::Stage stage);
  bool AwaitRequests();
  void Drain();
  [[noreturn]] void EndWhileLoading();

  const ParsedConfig& parsed_;
  const Config& config_;
  const Access access_;
  StopRequest& stop_;
  const SteadyClock clock_;
  const TimePoint started_;
  const TimePoint configured_;
  Metrics metrics_;
  LoadProgress progress_;
  ServingGate gate_;
  DrainState drain_;
  ServingState state_;
  std::unique_ptr<SpanQueue> spans_;        // null: no traces are made
  std::unique_ptr<SpanExporter> exporter_;  // of spans_
  Reception reception_;
  Egress egress_;
  GenerationService generation_;
  ModelsService models_;
  VllmEngineService vllm_engine_;
  InvariantAlarm alarm_;
  std::unique_ptr<FlightDumps> dumps_;     // of runtime_'s recorder; null while the model loads
  std::unique_ptr<ModelRuntime> runtime_;  // null while the model loads; outlives what serves it
  std::unique_ptr<ProfileFile> profile_;   // of runtime_'s steps; null while the model loads
  std::unique_ptr<Listeners> listeners_;
  HeapTrim heap_trim_;  // of the watch's thread
  std::unique_ptr<StallWatch> watch_;
};

}  // namespace latentd
