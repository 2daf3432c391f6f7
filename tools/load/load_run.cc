#include "tools/load/load_run.h"

#include <ctime>
#include <memory>
#include <optional>
#include <utility>

#include <absl/strings/str_format.h>

#include "tools/load/accounts.h"
#include "tools/load/check.h"
#include "tools/load/probe.h"
#include "tools/load/progress_line.h"
#include "tools/load/runner.h"

namespace latentd {
namespace {

constexpr double kModelSeconds = 10.0;  // to answer GetModel

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32] = {};
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

RunResult RunShown(Runner& runner, Interrupt& interrupt) {
  const Interrupt::Guard guard(interrupt, [&runner] { runner.Stop(); });
  if (!ProgressLine::IsWanted()) return runner.Run();
  ProgressLine line;
  runner.OnTick([&line](const RunState& state) { line.Show(state); });
  RunResult result = runner.Run();
  line.Clear();
  return result;
}

// The server's accounts over a run; nothing where no --metrics was given.
class AccountsCheck {
 public:
  explicit AccountsCheck(const LoadOptions& options) : options_(options) {}

  absl::Status Begin() {
    if (options_.metrics.empty()) return absl::OkStatus();
    const absl::StatusOr<ServerAccounts> accounts = ScrapeWhenIdle(options_.metrics, TokenOf(options_.run.dialing));
    if (accounts.ok()) before_ = *accounts;
    return accounts.status();
  }

  std::vector<CheckOutcome> End(const std::vector<RequestRecord>& records) const {
    if (!before_) return {{"accounts", Verdict::kSkipped, "no --metrics HOST:PORT was given"}};
    const absl::StatusOr<ServerAccounts> after = ScrapeWhenIdle(options_.metrics, TokenOf(options_.run.dialing));
    if (!after.ok()) return {{"accounts", Verdict::kFailed, std::string(after.status().message())}};
    return CompareAccounts(*before_, *after, Expect(records));
  }

 private:
  const LoadOptions& options_;
  std::optional<ServerAccounts> before_;
};

// With those of the probe, and one for each half-open connection, whose request may have been counted.
std::vector<RequestRecord> AllRecords(const RunResult& run, const RunResult& probe) {
  std::vector<RequestRecord> records = run.records;
  records.insert(records.end(), probe.records.begin(), probe.records.end());
  RequestRecord half_open;
  half_open.prompt_ids = 1;
  records.resize(records.size() + run.half_open, half_open);
  return records;
}

struct FinishedLoads {
  RunResult load;
  RunResult probe;  // empty where there is none
};

void AddChecks(const FinishedLoads& runs, const Workload& workload, const AccountsCheck& accounts, Client& client,
               LoadReport& report) {
  const auto& [run, probe] = runs;
  report.checks.push_back(CheckGrammar(report.summary));
  if (!report.options.checks) return;
  for (CheckOutcome& outcome : accounts.End(AllRecords(run, probe))) report.checks.push_back(std::move(outcome));
  report.checks.push_back(
      CheckQuietRun(client.generation(), workload, run.outputs, report.options.max_checked_requests));
}

}  // namespace

absl::StatusOr<v1::Model> AskModel(Client& client, const std::string& server) {
  grpc::ClientContext context;
  SetTimeout(kModelSeconds, context);
  v1::Model model;
  const grpc::Status status = client.models().GetModel(&context, {}, &model);
  if (status.ok()) return model;
  return absl::UnavailableError(
      absl::StrFormat("expected a latentd at %s, found none: %s; start one or name another "
                      "with --server",
                      server, status.error_message()));
}

absl::StatusOr<FinishedRun> RunLoad(const LoadOptions& options, LoadTarget& target) {
  const absl::StatusOr<Workload> workload = Workload::Make(options.workload, target.model);
  if (!workload.ok()) return workload.status();
  Runner runner(options.run, *workload);
  if (absl::Status status = runner.Connect(); !status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<Probe>> probe = Probe::Make(options, target.model);
  if (!probe.ok()) return probe.status();
  AccountsCheck accounts(options);
  if (absl::Status status = accounts.Begin(); !status.ok()) return status;

  LoadReport report;
  report.options = options;
  report.model = target.model;
  report.started_at = UtcNow();
  if (*probe) (*probe)->Start();
  FinishedLoads runs{.load = RunShown(runner, target.interrupt), .probe = {}};
  if (*probe) runs.probe = (*probe)->Finish();
  if (runs.load.records.empty()) return absl::AbortedError("expected at least one request in the run, found none");
  report.seconds = runs.load.seconds;
  report.was_interrupted = runs.load.was_interrupted;
  report.summary = Summarize(runs.load, options);
  if (*probe) report.probe = Summarize(runs.probe, (*probe)->options());
  AddChecks(runs, *workload, accounts, target.client, report);
  return FinishedRun{.report = std::move(report), .records = std::move(runs.load.records)};
}

}  // namespace latentd
