#include "tools/load/probe.h"

#include <utility>

namespace latentd {
namespace {

constexpr char kProbeTenant[] = "probe";

LoadOptions ProbeOptions(const LoadOptions& load) {
  LoadOptions probe;
  probe.slo = load.slo;
  probe.run = load.run;
  probe.run.loop = Loop::kClosed;
  probe.run.concurrency = probe.run.connections = probe.run.client_threads = 1;
  probe.run.half_open = 0;
  probe.run.keeps_outputs = false;
  probe.run.max_requests = kMaxRequests;
  probe.workload.seed = ~load.workload.seed;
  probe.workload.prompt_tokens = load.workload.prompt_tokens;
  probe.workload.output_tokens = load.workload.output_tokens;
  probe.workload.accepts_refusals = load.workload.accepts_refusals;
  if (!load.workload.tenants.empty()) probe.workload.tenants = {{.name = kProbeTenant}};
  return probe;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Probe>> Probe::Make(const LoadOptions& load, const v1::Model& model) {
  if (!load.has_probe) return nullptr;
  LoadOptions options = ProbeOptions(load);
  absl::StatusOr<Workload> workload = Workload::Make(options.workload, model);
  if (!workload.ok()) return workload.status();
  std::unique_ptr<Probe> probe(new Probe(std::move(options), *std::move(workload)));
  if (absl::Status status = probe->runner_.Connect(); !status.ok()) return status;
  return probe;
}

Probe::Probe(LoadOptions options, Workload workload)
    : options_(std::move(options)), workload_(std::move(workload)), runner_(options_.run, workload_) {}

Probe::~Probe() {
  if (thread_.joinable()) Finish();
}

void Probe::Start() {
  thread_ = std::thread([this] { result_ = runner_.Run(); });
}

RunResult Probe::Finish() {
  runner_.Stop();
  thread_.join();
  return std::move(result_);
}

}  // namespace latentd
