#include "tools/load/load_command.h"

#include <iostream>
#include <optional>
#include <utility>

#include "tools/load/load_run.h"
#include "tools/load/requests_csv.h"
#include "tools/load/sweep_report.h"

namespace latentd {
namespace {

constexpr int kGood = 0;
constexpr int kFailed = 1;
constexpr int kInvalid = 2;

int Fail(const absl::Status& status) {
  std::cerr << "latentctl load: " << status.message() << "\n";
  return kFailed;
}

// Where a file was named.
absl::Status WriteIfNamed(const std::string& file, const std::string& contents) {
  return file.empty() ? absl::OkStatus() : WriteFile(file, contents);
}

int Publish(const FinishedRun& run) {
  const LoadReport& report = run.report;
  const LoadOptions& options = report.options;
  std::cout << MakeTable(report) << std::flush;
  absl::Status written = WriteIfNamed(options.json_file, MakeJson(report));
  written.Update(WriteIfNamed(options.html_file, MakeHtml(MakeJson(report))));
  written.Update(WriteIfNamed(options.csv_file, MakeRequestsCsv(run.records, options.workload.tenants)));
  if (!written.ok()) return Fail(written);
  if (!report.passed()) return kFailed;
  return report.summary.is_valid ? kGood : kInvalid;
}

int Publish(const SweepReport& sweep, const LoadOptions& options) {
  std::cout << MakeSweepTable(sweep) << std::flush;
  absl::Status written = WriteIfNamed(options.json_file, MakeSweepJson(sweep));
  written.Update(WriteIfNamed(options.html_file, MakeHtml(MakeSweepJson(sweep))));
  written.Update(WriteIfNamed(options.csv_file, MakeSweepCsv(sweep)));
  return written.ok() ? kGood : Fail(written);
}

absl::StatusOr<SweepReport> RunSweep(const LoadOptions& options, const SweepOptions& sweep, LoadTarget& target) {
  SweepReport report{.options = sweep, .levels = {}};
  std::vector<LevelOutcome> outcomes;
  while (const std::optional<double> level = NextLevel(outcomes, sweep)) {
    absl::StatusOr<FinishedRun> run =
        RunLoad(AtLevel(options, sweep, {.number = outcomes.size(), .level = *level}), target);
    if (!run.ok()) return run.status();
    if (run->report.was_interrupted) break;
    outcomes.push_back(OutcomeOf(*level, run->report.summary));
    report.levels.push_back({.outcome = outcomes.back(), .report = std::move(run->report)});
    std::cout << SweepRow(report.levels.back()) << std::flush;
  }
  if (report.levels.empty()) return absl::AbortedError("expected at least one level of the sweep, found none");
  return report;
}

// Runs `send` with a daemon that answers.
template <class Send>
int WithTarget(LoadOptions options, const Send& send) {
  if (absl::Status status = Complete(options); !status.ok()) return Fail(status);
  Interrupt interrupt;
  Client client(options.run.server, options.run.dialing);
  absl::StatusOr<v1::Model> model = AskModel(client, options.run.server);
  if (!model.ok()) return Fail(model.status());
  LoadTarget target{.client = client, .model = *std::move(model), .interrupt = interrupt};
  return send(options, target);
}

}  // namespace

int Load(LoadOptions options) {
  return WithTarget(std::move(options), [](const LoadOptions& complete, LoadTarget& target) {
    const absl::StatusOr<FinishedRun> run = RunLoad(complete, target);
    return run.ok() ? Publish(*run) : Fail(run.status());
  });
}

int Sweep(LoadOptions options, const SweepOptions& sweep) {
  if (sweep.goodput_fraction && !options.slo.is_set()) {
    return Fail(absl::InvalidArgumentError("--find-max-goodput: expected --slo, which says what is good; add it"));
  }
  if (options.run.max_requests == 0 && options.run.duration_seconds == 0.0) {
    options.run.duration_seconds = kLevelSeconds;
  }
  if (sweep.over == SweepOver::kRate) options.run.loop = Loop::kOpen;
  return WithTarget(std::move(options), [&sweep](const LoadOptions& complete, LoadTarget& target) {
    std::cout << SweepHeader(sweep) << std::flush;
    const absl::StatusOr<SweepReport> report = RunSweep(complete, sweep, target);
    return report.ok() ? Publish(*report, complete) : Fail(report.status());
  });
}

}  // namespace latentd
