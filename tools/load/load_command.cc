#include "tools/load/load_command.h"

#include <ctime>
#include <iostream>
#include <optional>
#include <utility>

#include <absl/strings/str_format.h>

#include "tools/client/client.h"
#include "tools/client/interrupt.h"
#include "tools/load/accounts.h"
#include "tools/load/check.h"
#include "tools/load/progress_line.h"
#include "tools/load/report.h"
#include "tools/load/runner.h"

namespace latentd {
namespace {

constexpr int kGood = 0;
constexpr int kFailed = 1;
constexpr int kInvalid = 2;
constexpr double kModelSeconds = 10.0;  // to answer GetModel

int Fail(const absl::Status& status) {
  std::cerr << "latentctl load: " << status.message() << "\n";
  return kFailed;
}

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32] = {};
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

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
    const absl::StatusOr<ServerAccounts> accounts = ScrapeWhenIdle(options_.metrics);
    if (accounts.ok()) before_ = *accounts;
    return accounts.status();
  }

  std::vector<CheckOutcome> End(const RunResult& run) const {
    if (!before_) return {{"accounts", Verdict::kSkipped, "no --metrics HOST:PORT was given"}};
    const absl::StatusOr<ServerAccounts> after = ScrapeWhenIdle(options_.metrics);
    if (!after.ok()) return {{"accounts", Verdict::kFailed, std::string(after.status().message())}};
    return CompareAccounts(*before_, *after, Expect(run.records));
  }

 private:
  const LoadOptions& options_;
  std::optional<ServerAccounts> before_;
};

void AddChecks(const RunResult& run, const Workload& workload, const AccountsCheck& accounts, Client& client,
               LoadReport& report) {
  report.checks.push_back(CheckGrammar(report.summary));
  if (!report.options.checks) return;
  for (CheckOutcome& outcome : accounts.End(run)) report.checks.push_back(std::move(outcome));
  report.checks.push_back(
      CheckQuietRun(client.generation(), workload, run.outputs, report.options.max_checked_requests));
}

int Publish(const LoadReport& report) {
  std::cout << MakeTable(report) << std::flush;
  absl::Status written;
  if (!report.options.json_file.empty()) written.Update(WriteFile(report.options.json_file, MakeJson(report)));
  if (!report.options.html_file.empty()) written.Update(WriteFile(report.options.html_file, MakeHtml(report)));
  if (!written.ok()) return Fail(written);
  if (!report.passed()) return kFailed;
  return report.summary.is_valid ? kGood : kInvalid;
}

}  // namespace

int Load(LoadOptions options) {
  if (absl::Status status = Complete(options); !status.ok()) return Fail(status);
  Interrupt interrupt;
  Client client(options.run.server, ProxyUseFor(options.run.no_proxy));
  const absl::StatusOr<v1::Model> model = AskModel(client, options.run.server);
  if (!model.ok()) return Fail(model.status());
  const absl::StatusOr<Workload> workload = Workload::Make(options.workload, *model);
  if (!workload.ok()) return Fail(workload.status());
  Runner runner(options.run, *workload);
  if (absl::Status status = runner.Connect(); !status.ok()) return Fail(status);
  AccountsCheck accounts(options);
  if (absl::Status status = accounts.Begin(); !status.ok()) return Fail(status);

  LoadReport report;
  report.options = options;
  report.model = *model;
  report.started_at = UtcNow();
  const RunResult run = RunShown(runner, interrupt);
  if (run.records.empty()) return Fail(absl::AbortedError("expected at least one request in the run, found none"));
  report.seconds = run.seconds;
  report.was_interrupted = run.was_interrupted;
  report.summary = Summarize(run, options);
  AddChecks(run, *workload, accounts, client, report);
  return Publish(report);
}

}  // namespace latentd
