// Owns everything: configuration, model, engine, services, and the order in which they start and stop.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_replace.h>
#include <spdlog/spdlog.h>

#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "engine/metrics.h"
#include "engine/model/file_faults.h"
#include "engine/model_executor.h"
#include "engine/publisher.h"
#include "engine/timed_executor.h"
#include "server/admin_endpoint.h"
#include "server/config.h"
#include "server/drain_state.h"
#include "server/egress.h"
#include "server/generation_service.h"
#include "server/grpc_server.h"
#include "server/knobs.h"
#include "server/live_requests.h"
#include "server/load_model.h"
#include "server/load_progress.h"
#include "server/logging.h"
#include "server/metrics_exporter.h"
#include "server/models_service.h"
#include "server/port_file.h"
#include "server/request_log.h"
#include "server/signals.h"
#include "server/stall_watch.h"

namespace latentd {
namespace {

// After the drain: for the last statuses to be written, then for streams that are not ours (health watches) to end.
constexpr std::chrono::seconds kLastWords{2};
constexpr std::chrono::milliseconds kLastStreams{500};
// While requests are awaited, signals and a shortened deadline are looked at so often.
constexpr std::chrono::milliseconds kBetweenLooks{200};

TimePoint Now() { return SteadyClock().Now(); }
TimePoint After(Duration duration) { return Now() + duration; }
TimePoint AfterSeconds(double seconds) { return After(FromSeconds(seconds)); }

struct Running {
  GenerationService& generation;
  EngineThread& engine;
  Egress& egress;
  GrpcServer& server;
  Metrics& metrics;
  AdminEndpoint* admin;  // null: off
  DrainState& drain;
  StopSignal& stop;
  double drain_seconds;
};

void SetStage(const Running& running, DrainState::Stage stage) {
  running.drain.MoveTo(stage);
  if (running.admin != nullptr) running.admin->DrainMovedOn();
}

// False at the drain's deadline. A first signal during a drain that Admin asked for gives it no longer than a signal's.
bool AwaitRequests(const Running& running) {
  while (Now() < running.drain.deadline()) {
    const TimePoint by = std::min(running.drain.deadline(), After(kBetweenLooks));
    if (running.engine.AwaitIdle(by) && running.egress.AwaitEmpty(by)) return true;
    if (running.stop.Take()) running.drain.Shorten(AfterSeconds(running.drain_seconds));
  }
  return false;
}

// The one way in which the daemon ends, whoever asked for it.
void ShutDown(const Running& running) {
  running.metrics.Update([](MetricsData& data) { data.state = ServerState::kDraining; });
  running.server.SetHealth(GrpcServer::Health::kDraining);
  running.generation.StopAdmitting();
  running.engine.StopAdmitting();
  SetStage(running, DrainState::Stage::kDraining);
  if (!AwaitRequests(running)) {
    running.engine.CancelAll();
    running.egress.AwaitEmpty(After(kLastWords));
  }
  running.server.Shutdown(After(kLastStreams));
  running.egress.AwaitEmpty(kNever);  // gRPC is done with every stream; what they refer to may go after this
  SetStage(running, DrainState::Stage::kOver);
  if (running.admin != nullptr) running.admin->Shutdown(After(kLastWords));
}

void AwaitStop(const Running& running, const StopRequest& request) {
  if (const std::optional<int> signal = running.stop.Await(request)) {
    running.drain.Ask(AfterSeconds(running.drain_seconds));
    spdlog::info("signal {}: draining for at most {} s; another one ends at once", *signal, running.drain_seconds);
  } else {
    spdlog::info("asked through Admin: draining for at most {:.3f} s", Seconds(running.drain.deadline() - Now()));
  }
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

struct Servers {
  std::unique_ptr<GrpcServer> api;
  std::unique_ptr<AdminEndpoint> admin;  // null: off

  void SetHealth(GrpcServer::Health health) const {
    api->SetHealth(health);
    if (admin != nullptr) admin->SetHealth(health);
  }
  std::string AdminText() const { return admin == nullptr ? "admin off" : "admin on " + admin->address(); }
  void Abandon() const {
    api->Shutdown(Now());
    if (admin != nullptr) admin->Shutdown(Now());
  }
};

// All or none; where they listen stands in the port file by then.
absl::StatusOr<Servers> StartServers(const std::vector<grpc::Service*>& services, AdminEndpoint::Parts admin_parts,
                                     const std::string& metrics_address) {
  const Config& config = admin_parts.config;
  absl::StatusOr<std::unique_ptr<GrpcServer>> api =
      GrpcServer::Start({.listen = config.listen,
                         .flag = "--listen",
                         .services = services,
                         .health_names = {"latentd.v1.Generation", "latentd.v1.Models"}});
  if (!api.ok()) return api.status();
  Servers servers{.api = *std::move(api), .admin = nullptr};
  absl::StatusOr<std::unique_ptr<AdminEndpoint>> admin = AdminEndpoint::Start(std::move(admin_parts));
  absl::Status status = admin.status();
  if (status.ok()) {
    servers.admin = *std::move(admin);
    status = WritePortFile(config.port_file, {.grpc = servers.api->address(),
                                              .metrics = metrics_address,
                                              .admin = servers.admin == nullptr ? "" : servers.admin->address()});
  }
  if (status.ok()) return servers;
  servers.Abandon();
  return status;
}

void LogStart(const LoadedModel& loaded) {
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  for (const std::string& line : loaded.sizes) spdlog::info("{}", line);
}

absl::Status Serve(const ParsedConfig& parsed, TimePoint started) {
  const Config& config = parsed.config;
  const SteadyClock clock;
  const TimePoint configured = clock.Now();
  Metrics metrics;
  absl::StatusOr<std::unique_ptr<MetricsExporter>> exporter = MetricsExporter::Start(config.metrics_listen, metrics);
  if (!exporter.ok()) return exporter.status();
  LoadProgress progress(metrics, clock);
  absl::StatusOr<std::unique_ptr<LoadedModel>> loading = LoadModel(config, progress);
  if (!loading.ok()) return loading.status();
  LoadedModel& loaded = **loading;
  const v1::Model& description = loaded.served.description;
  const std::vector<KnobValue> knobs = loaded.Resolve(parsed.knobs);
  StopSignal stop;  // nothing had to be drained so far
  StopRequest stop_request;
  DrainState drain;
  (*exporter)->SetFacts({.model = description, .kv_bytes = loaded.model->cache_bytes(), .config = ConfigLabels(knobs)});
  ModelExecutor model_executor(*loaded.model, loaded.chosen.backend);
  TimedExecutor executor(model_executor, clock);
  Publisher publisher(loaded.served.tokenizer.get(), metrics);
  EngineThread engine(std::make_unique<Engine>(executor, loaded.engine, metrics), publisher, clock,
                      {.requests = config.max_queued_requests, .tokens = loaded.max_queued_tokens});
  LiveRequests live(engine, static_cast<size_t>(config.max_pending_bytes));
  Egress egress(static_cast<int>(config.egress_threads), FromSeconds(config.slow_consumer_seconds));
  GenerationService generation(loaded.served, live, egress, metrics);
  ModelsService models(description, metrics);
  NameModelInRequestLog(description.name());
  absl::StatusOr<Servers> servers = StartServers({&generation, &models},
                                                 {.live = live,
                                                  .metrics = metrics,
                                                  .drain = drain,
                                                  .stop = stop_request,
                                                  .model = description,
                                                  .config = config,
                                                  .knobs = knobs},
                                                 (*exporter)->address());
  if (!servers.ok()) return servers.status();
  for (const std::string& warning : parsed.warnings) spdlog::warn("{}", warning);
  ReportStart(loaded, configured, started, metrics);
  const auto set_readiness = [&servers = *servers](EngineHealth health) {
    servers.SetHealth(health == EngineHealth::kMoving ? GrpcServer::Health::kServing : GrpcServer::Health::kStalled);
  };
  StallWatch watch(engine.progress(), clock, metrics,
                   {.stall_seconds = config.stall_seconds, .on_change = set_readiness});
  LogStart(loaded);
  spdlog::info("serving {} on {}, metrics on http://{}/metrics, {}, after {:.3f} s", description.name(),
               servers->api->address(), (*exporter)->address(), servers->AdminText(), Seconds(clock.Now() - started));

  const Running running{.generation = generation,
                        .engine = engine,
                        .egress = egress,
                        .server = *servers->api,
                        .metrics = metrics,
                        .admin = servers->admin.get(),
                        .drain = drain,
                        .stop = stop,
                        .drain_seconds = config.drain_seconds};
  AwaitStop(running, stop_request);
  ShutDown(running);
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
    const latentd::Config& config = parsed->config;
    latentd::StartLogging(
        {.level = config.log_level,
         .format = config.log_format == "json" ? latentd::LogFormat::kJson : latentd::LogFormat::kText});
    latentd::EndOnFileFaults("latentd",
                             config.log_format == "json" ? latentd::FaultLine::kJson : latentd::FaultLine::kText);
    status = latentd::Serve(*parsed, started);
    latentd::StopLogging();
  }
  if (status.ok()) return 0;
  latentd::LogFatal(std::string(status.message()));
  return 1;
}
