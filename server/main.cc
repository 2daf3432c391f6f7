// Owns everything: configuration, model, engine, services, and the order in which they start and stop.
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_replace.h>
#include <spdlog/spdlog.h>

#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "engine/metrics.h"
#include "engine/model_executor.h"
#include "engine/publisher.h"
#include "engine/timed_executor.h"
#include "server/config.h"
#include "server/egress.h"
#include "server/generation_service.h"
#include "server/grpc_server.h"
#include "server/knobs.h"
#include "server/load_model.h"
#include "server/logging.h"
#include "server/metrics_exporter.h"
#include "server/models_service.h"
#include "server/port_file.h"
#include "server/signals.h"
#include "server/stall_watch.h"

namespace latentd {
namespace {

// After the drain: for the last statuses to be written, then for streams that are not ours (health watches) to end.
constexpr std::chrono::seconds kLastWords{2};
constexpr std::chrono::milliseconds kLastStreams{500};

TimePoint After(Duration duration) { return SteadyClock().Now() + duration; }

struct Running {
  GenerationService& generation;
  EngineThread& engine;
  Egress& egress;
  GrpcServer& server;
  Metrics& metrics;
};

void ShutDown(const Running& running, double drain_seconds) {
  const TimePoint drained_by =
      After(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(drain_seconds)));
  running.metrics.Update([](MetricsData& data) { data.state = ServerState::kDraining; });
  running.server.SetHealth(GrpcServer::Health::kDraining);
  running.generation.StopAdmitting();
  running.engine.StopAdmitting();
  const bool is_idle = running.engine.AwaitIdle(drained_by) && running.egress.AwaitEmpty(drained_by);
  if (!is_idle) {
    running.engine.CancelAll();
    running.egress.AwaitEmpty(After(kLastWords));
  }
  running.server.Shutdown(After(kLastStreams));
  running.egress.AwaitEmpty(kNever);  // gRPC is done with every stream; what they refer to may go after this
}

// The engine's knobs as they ended up, in the spelling of labels.
std::vector<std::pair<std::string, std::string>> ConfigLabels(const std::vector<KnobValue>& knobs) {
  std::vector<std::pair<std::string, std::string>> labels;
  for (size_t i = 0; i < knobs.size(); ++i) {
    if (AllKnobs()[i].group != kEngineKnobs || knobs[i].name == "model") continue;
    labels.emplace_back(absl::StrReplaceAll(knobs[i].name, {{"-", "_"}}), knobs[i].value);
  }
  return labels;
}

void ReportStart(const LoadedModel& loaded, TimePoint configured, TimePoint started, Metrics& metrics) {
  const TimePoint now = SteadyClock().Now();
  metrics.Update([&](MetricsData& data) {
    data.startup_seconds = {Seconds(configured - started), loaded.tokenizer_seconds, loaded.weights_seconds,
                            Seconds(now - started)};
    data.state = ServerState::kServing;
  });
}

absl::Status Serve(const ParsedConfig& parsed, TimePoint started) {
  const Config& config = parsed.config;
  const SteadyClock clock;
  const TimePoint configured = clock.Now();
  absl::StatusOr<std::unique_ptr<LoadedModel>> loading = LoadModel(config);
  if (!loading.ok()) return loading.status();
  LoadedModel& loaded = **loading;
  StopSignal stop;  // nothing had to be drained so far

  Metrics metrics;
  absl::StatusOr<std::unique_ptr<MetricsExporter>> exporter =
      MetricsExporter::Start(config.metrics_listen, metrics,
                             {.model = loaded.served.description,
                              .kv_bytes = loaded.model->cache_bytes(),
                              .config = ConfigLabels(loaded.Resolve(parsed.knobs))});
  if (!exporter.ok()) return exporter.status();
  ModelExecutor model_executor(*loaded.model, loaded.backend);
  TimedExecutor executor(model_executor, clock);
  Publisher publisher(loaded.served.tokenizer.get(), metrics);
  EngineThread engine(std::make_unique<Engine>(executor, loaded.engine, metrics), publisher, clock,
                      {.requests = config.max_queued_requests, .tokens = loaded.max_queued_tokens});
  Egress egress(static_cast<int>(config.egress_threads),
                std::chrono::duration_cast<Duration>(std::chrono::duration<double>(config.slow_consumer_seconds)));
  GenerationService generation(loaded.served, engine, egress, metrics);
  ModelsService models(loaded.served.description, metrics);
  absl::StatusOr<std::unique_ptr<GrpcServer>> server = GrpcServer::Start(config.listen, {&generation, &models});
  if (!server.ok()) return server.status();
  if (!config.port_file.empty()) {
    absl::Status status = WritePortFile(config.port_file, (*server)->address(), (*exporter)->address());
    if (!status.ok()) {
      (*server)->Shutdown(clock.Now());
      return status;
    }
  }
  for (const std::string& warning : parsed.warnings) spdlog::warn("{}", warning);
  ReportStart(loaded, configured, started, metrics);
  const auto set_readiness = [&health = **server](EngineHealth engine_health) {
    health.SetHealth(engine_health == EngineHealth::kMoving ? GrpcServer::Health::kServing
                                                            : GrpcServer::Health::kStalled);
  };
  StallWatch watch(engine.progress(), clock, metrics,
                   {.stall_seconds = config.stall_seconds, .on_change = set_readiness});
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  for (const std::string& line : loaded.sizes) spdlog::info("{}", line);
  spdlog::info("serving {} on {}, metrics on http://{}/metrics, after {:.3f} s", loaded.served.description.name(),
               (*server)->address(), (*exporter)->address(), Seconds(clock.Now() - started));

  const int signal = stop.Await();
  spdlog::info("signal {}: draining for at most {} s; another one ends at once", signal, config.drain_seconds);
  ShutDown({.generation = generation, .engine = engine, .egress = egress, .server = **server, .metrics = metrics},
           config.drain_seconds);
  spdlog::info("stopped");
  return absl::OkStatus();
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  const latentd::TimePoint started = latentd::SteadyClock().Now();
  absl::StatusOr<latentd::ParsedConfig> parsed = latentd::ParseConfig(argc, argv, latentd::ReadEnvironment());
  absl::Status status = parsed.status();
  if (parsed.ok() && !parsed->answer.empty()) {
    std::cout << parsed->answer;
    return 0;
  }
  if (parsed.ok()) {
    latentd::StartLogging(parsed->config.log_level);
    status = latentd::Serve(*parsed, started);
  }
  if (status.ok()) return 0;
  std::cerr << "latentd: " << status.message() << "\n";
  return 1;
}
