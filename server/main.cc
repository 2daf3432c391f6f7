// The process: arguments, signals, logs and its exit code. The Daemon (server/start) serves.
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "base/clock.h"
#include "base/file_faults.h"
#include "base/standard_descriptors.h"
#include "server/access/access.h"
#include "server/access/file_watch.h"
#include "server/config/parse_config.h"
#include "server/grpc/library_logs.h"
#include "server/process/core_dumps.h"
#include "server/process/descriptors.h"
#include "server/process/heap.h"
#include "server/process/logging.h"
#include "server/process/signals.h"
#include "server/process/thread_room.h"
#include "server/start/daemon.h"
#include "server/start/port_file.h"

namespace latentd {
namespace {

absl::Status RunDaemon(const ParsedConfig& parsed, StopRequest& stop, TimePoint started) {
  const Config& config = parsed.config;
  const absl::StatusOr<std::unique_ptr<Authority>> authority = Authority::Open(
      {.tokens = config.tokens, .identities = config.identities, .verifies_clients = !config.tls_client_ca.empty()});
  if (!authority.ok()) return authority.status();
  absl::StatusOr<std::unique_ptr<Certificates>> certificates = nullptr;
  if (!config.tls_cert.empty()) {
    certificates =
        Certificates::Open({.certificate = config.tls_cert, .key = config.tls_key, .client_ca = config.tls_client_ca});
  }
  if (!certificates.ok()) return certificates.status();
  std::optional<FileWatch> watch;
  if (*certificates != nullptr || !(*authority)->is_open_to_all()) {
    watch.emplace([&] {
      (*authority)->Look();
      if (*certificates != nullptr) (*certificates)->Look();
    });
  }
  return Daemon(parsed, {.authority = **authority, .certificates = certificates->get()}, stop, started).Run();
}

absl::Status Serve(const ParsedConfig& parsed, StopRequest& stop, TimePoint started) {
  const bool is_json = parsed.config.log_format == "json";
  SetLogFormat(is_json ? LogFormat::kJson : LogFormat::kText);  // of what is refused before there is a log, too
  SetCoreDumps(parsed.config.core_dumps == "on" ? CoreDumps::kOn : CoreDumps::kOff);
  if (absl::Status status = CheckDescriptors(); !status.ok()) return status;
  if (absl::Status status = cpu::CheckThreads(parsed.config); !status.ok()) return status;
  StartLogging({.level = parsed.config.log_level, .format = is_json ? LogFormat::kJson : LogFormat::kText});
  RouteLibraryLogs();
  EndOnFileFaults("latentd", is_json ? FaultLine::kJson : FaultLine::kText);
  const absl::Status status = RunDaemon(parsed, stop, started);
  StopLogging();
  return status;
}

int Run(int argc, char** argv, StopRequest& stop) {
  const TimePoint started = SteadyClock().Now();
  const Environment environment = ReadEnvironment();
  const absl::StatusOr<ParsedConfig> parsed = ParseConfig(argc, argv, environment);
  if (!parsed.ok()) {
    SetLogFormat(AsksForJsonLog(argc, argv, environment) ? LogFormat::kJson : LogFormat::kText);
    LogFatal(std::string(parsed.status().message()));
    return 1;
  }
  if (!parsed->answer.empty()) {
    std::cout << parsed->answer;
    return FinishStandardOutput("latentd", 0);
  }
  const absl::Status status = Serve(*parsed, stop, started);
  if (status.ok()) return 0;
  LogFatal(WithOrigin(std::string(status.message()), *parsed));
  return 1;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  latentd::RaiseDescriptorLimit();
  latentd::ExplainTermination();
  latentd::BoundHeap();
  latentd::cpu::GiveThreadsFullStacks();
  latentd::StopRequest stop;
  return latentd::RunUnderSignals(
      stop, [&] { return latentd::Run(argc, argv, stop); }, latentd::RemovePortFile);
}
