#include "server/start/daemon.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/now.h"
#include "engine/load/load_model.h"
#include "server/api/sampling_defaults.h"
#include "server/call/request_log.h"
#include "server/net/connection_table.h"
#include "server/process/descriptors.h"
#include "server/process/logging.h"
#include "server/start/describe_model.h"
#include "server/start/exposure.h"
#include "server/start/load_choices.h"
#include "server/start/port_file.h"

namespace latentd {
namespace {

// After the drain's deadline: for steps that run, then for the last statuses to be written, then for streams that are
// not ours (health watches) to end. Clients that read nothing take all but the first of these: less than a second.
constexpr std::chrono::seconds kLastSteps{2};
constexpr std::chrono::milliseconds kLastWords{400};
constexpr std::chrono::milliseconds kLastStreams{100};
constexpr std::chrono::seconds kLastSpans{2};  // for a collector that takes its time
// While requests are awaited, signals and a shortened deadline are looked at so often.
constexpr std::chrono::milliseconds kBetweenLooks{200};

TimePoint After(Duration duration) { return Now() + duration; }
TimePoint AfterSeconds(double seconds) { return After(FromSeconds(seconds)); }

}  // namespace

Daemon::Daemon(const ParsedConfig& parsed, const Access& access, StopRequest& stop, TimePoint started)
    : parsed_(parsed),
      config_(parsed.config),
      access_(access),
      stop_(stop),
      started_(started),
      configured_(clock_.Now()),
      progress_(metrics_, clock_),
      gate_(progress_),
      spans_(config_.otlp_endpoint.empty() ? nullptr : std::make_unique<SpanQueue>(metrics_)),
      reception_(config_, metrics_, &access_.authority, spans_.get()),
      egress_(static_cast<int>(config_.egress_threads), FromSeconds(config_.slow_consumer_seconds)),
      generation_(gate_, reception_.PartsWith(egress_)),
      models_(gate_, reception_.PartsWith(egress_)),
      vllm_engine_({.gate = gate_, .state = state_, .config = config_, .metrics = metrics_},
                   reception_.PartsWith(egress_)),
      alarm_({.metrics = metrics_,
              .state = state_,
              .drain = drain_,
              .stop = stop_,
              .drain_seconds = config_.drain_seconds}) {}

Daemon::~Daemon() {
  watch_.reset();
  listeners_.reset();
  egress_.AwaitEmpty(kNever);  // gRPC is done with every stream; what they refer to may go after this
  if (dumps_ != nullptr) dumps_->Forget();
}

absl::Status Daemon::Run() {
  if (absl::Status status = PreparePortFile(config_.port_file); !status.ok()) return status;
  if (absl::Status status = CheckRecorderDirectory(config_.recorder_dir); !status.ok()) return status;
  if (absl::Status status = ProfileFile::Prepare(config_.profile); !status.ok()) return status;
  NameModelInRequestLog(NamesOf(config_).front());
  if (absl::Status status = StartTraces(); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Listeners>> listeners = Listeners::Start(Services(), {.gate = gate_,
                                                                                       .metrics = metrics_,
                                                                                       .reception = reception_,
                                                                                       .access = access_,
                                                                                       .drain = drain_,
                                                                                       .state = state_,
                                                                                       .stop = stop_,
                                                                                       .config = config_,
                                                                                       .knobs = parsed_.knobs});
  if (!listeners.ok()) return listeners.status();
  listeners_ = *std::move(listeners);
  spdlog::debug("listening on {}; loading {}", listeners_->Text(), config_.model_directory);
  absl::StatusOr<std::unique_ptr<LoadedModel>> loaded = Load();
  if (!loaded.ok()) return loaded.status();
  if (absl::Status status = Open(*std::move(loaded)); !status.ok()) return status;
  AwaitStop();
  Drain();
  watch_.reset();
  profile_->Finish();
  const absl::Status status = alarm_.status();
  if (status.ok()) spdlog::info("stopped");
  // gRPC's library waits 10 s for connections that it lost while it wrote to them.
  if (ConnectionTable::OfProcess().has_lost_any()) {
    listeners_->ShutDownMetrics();
    StopLogging();
    if (!status.ok()) LogFatal(std::string(status.message()));
    _exit(status.ok() ? 0 : 1);
  }
  return status;
}

std::vector<NamedService> Daemon::Services() {
  std::vector<NamedService> services = {{"latentd.v1.Generation", generation_}, {"latentd.v1.Models", models_}};
  if (config_.smg == "on") services.push_back({VllmEngineService::kName, vllm_engine_});
  return services;
}

// -------------------------------------------------------------------------------------------------------------- start

absl::Status Daemon::StartTraces() {
  if (spans_ == nullptr) return absl::OkStatus();
  const absl::StatusOr<OtlpEndpoint> endpoint = ParseOtlpEndpoint(config_.otlp_endpoint);
  if (!endpoint.ok()) return endpoint.status();
  exporter_ = std::make_unique<SpanExporter>(*endpoint, NamesOf(config_).front(), *spans_, metrics_);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LoadedModel>> Daemon::Load() {
  const absl::StatusOr<LoadOptions> options = LoadOptionsOf(config_);
  if (!options.ok()) return options.status();
  absl::StatusOr<std::unique_ptr<LoadedModel>> loaded = absl::UnknownError("nothing was loaded");
  std::atomic<bool> is_over = false;
  std::thread loader([&] {
    loaded = LoadModel(
        *options, [this](uint64_t read_bytes, uint64_t total_bytes) { progress_.OnRead(read_bytes, total_bytes); });
    progress_.Wipe();
    is_over = true;
    stop_.Notify();
  });
  if (stop_.AwaitOr([&is_over] { return is_over.load(); })) EndWhileLoading();
  loader.join();
  return loaded;
}

absl::Status Daemon::Open(std::unique_ptr<LoadedModel> loaded) {
  dumps_ = std::make_unique<FlightDumps>(
      FlightDumps::Options{.directory = config_.recorder_dir, .fingerprint = loaded->description.fingerprint}, clock_);
  runtime_ = std::make_unique<ModelRuntime>(
      std::move(loaded), config_, clock_,
      ModelRuntime::Output{
          .metrics = metrics_, .alarm = alarm_, .dumps = *dumps_, .max_backlog_bytes = reception_.max_bytes()});
  profile_ = std::make_unique<ProfileFile>(config_.profile, runtime_->loaded().profiled_ops);
  dumps_->SaveOnFailedCheck(runtime_->engine().recorder());
  listeners_->Describe(runtime_->loaded(), runtime_->served().description,
                       WithDerived(parsed_.knobs, runtime_->loaded().derived));
  EngineThread& engine = runtime_->engine();
  listeners_->Publish({.stream = engine.kv_events(), .snapshot = [&engine](KvSnapshotListener listener) {
                         engine.SnapshotKvEvents(std::move(listener));
                       }});
  gate_.Open(runtime_->serving());
  ReportStart();
  state_.MoveTo(ServingState::Stage::kServing);
  Watch();
  return WritePortFile(config_.port_file, listeners_->addresses_to_dial());
}

void Daemon::Watch() {
  const auto on_change = [this](EngineHealth health) {
    const bool stalled = health == EngineHealth::kStalled;
    state_.MoveTo(stalled ? ServingState::Stage::kStalled : ServingState::Stage::kServing);
    if (stalled) dumps_->Save(runtime_->engine().recorder(), "stall");
  };
  watch_ = std::make_unique<StallWatch>(
      runtime_->engine().progress(), clock_, metrics_,
      StallWatchOptions{
          .stall_seconds = config_.stall_seconds, .on_change = on_change, .on_look = [this](TimePoint now) {
            heap_trim_.Tick(now);
            profile_->Tick();
          }});
}

void Daemon::ReportStart() {
  const LoadedModel& loaded = runtime_->loaded();
  const double total_seconds = Seconds(Now() - started_);
  metrics_.Update([&](MetricsData& data) {
    data.startup_seconds = {Seconds(configured_ - started_), loaded.tokenizer_seconds, loaded.weights_seconds,
                            total_seconds};
    data.state = ServerState::kServing;
  });
  for (const std::string& warning : parsed_.warnings) spdlog::warn("{}", warning);
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  for (const std::string& warning : ConnectionWarnings(config_, MaxDescriptors())) spdlog::warn("{}", warning);
  const GuardedListeners guarded = {.grpc = !access_.authority.is_open_to_all(), .metrics = !config_.tokens.empty()};
  const std::string exposure = ExposureWarning(listeners_->addresses(), guarded);
  if (!exposure.empty()) spdlog::warn("{}", exposure);
  for (const std::string& line : loaded.sizes) spdlog::info("{}", line);
  spdlog::info("defaults: what requests leave out is {} (generation-config={})",
               DescribeDefaults(runtime_->served().description.sampling_defaults()), config_.generation_config);
  spdlog::info("serving {} on {}, after {:.3f} s", loaded.description.name, listeners_->Text(), total_seconds);
}

// ---------------------------------------------------------------------------------------------------------------- end

void Daemon::AwaitStop() {
  stop_.AwaitOr([] { return false; });
  if (const std::optional<int> signal = stop_.TakeSignal()) {
    drain_.Ask(AfterSeconds(config_.drain_seconds));
    spdlog::info("signal {}: draining for at most {} s; another SIGTERM or SIGINT ends at once", *signal,
                 config_.drain_seconds);
  } else if (!alarm_.status().ok()) {
    return;  // it has been said why
  } else {
    spdlog::info("asked through Admin: draining for at most {:.3f} s", Seconds(drain_.deadline() - Now()));
  }
}

void Daemon::SetStage(DrainState::Stage stage) {
  drain_.MoveTo(stage);
  listeners_->DrainMovedOn();
}

// False at the drain's deadline. A first signal during a drain that Admin asked for gives it no longer than a signal's.
bool Daemon::AwaitRequests() {
  while (Now() < drain_.deadline()) {
    const TimePoint by = std::min(drain_.deadline(), After(kBetweenLooks));
    if (runtime_->engine().AwaitIdle(by) && egress_.AwaitEmpty(by)) return true;
    if (stop_.TakeSignal()) drain_.Shorten(AfterSeconds(config_.drain_seconds));
  }
  return false;
}

// The one way in which a daemon that serves ends, by a signal or by Admin.
void Daemon::Drain() {
  metrics_.Update([](MetricsData& data) { data.state = ServerState::kDraining; });
  state_.MoveTo(ServingState::Stage::kDraining);
  generation_.StopAdmitting();
  vllm_engine_.StopAdmitting();
  runtime_->engine().StopAdmitting();
  SetStage(DrainState::Stage::kDraining);
  if (!AwaitRequests()) {
    runtime_->engine().CancelAll();
    runtime_->engine().AwaitIdle(After(kLastSteps));
    egress_.AwaitEmpty(After(kLastWords));
  }
  egress_.CutShort();
  listeners_->ShutDownApi(After(kLastStreams));
  egress_.AwaitEmpty(kNever);
  if (exporter_ != nullptr) exporter_->Finish(After(kLastSpans));
  SetStage(DrainState::Stage::kOver);
  listeners_->ShutDownAdmin(After(kLastWords));
  RemovePortFile();
}

// Nothing has to be drained yet.
void Daemon::EndWhileLoading() {
  if (const std::optional<int> signal = stop_.TakeSignal()) {
    drain_.Ask(Now());
    spdlog::info("signal {} while the model was loading: stopped", *signal);
  } else {
    spdlog::info("asked through Admin while the model was loading: stopped");
  }
  SetStage(DrainState::Stage::kOver);
  listeners_->ShutDownApi(Now());
  listeners_->ShutDownAdmin(After(kLastWords));
  StopLogging();
  _exit(0);
}

}  // namespace latentd
