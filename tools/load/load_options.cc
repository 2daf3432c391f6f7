#include "tools/load/load_options.h"

#include <type_traits>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "base/number_text.h"
#include "tools/load/view.h"

namespace latentd {
namespace {

// A run ends by itself: these hold where neither bound is given …
constexpr uint64_t kDefaultRequests = 1'000;
constexpr double kDefaultSeconds = 60.0;
// … and kMaxRequests or this where only the other one is.
constexpr double kMaxSeconds = 3'600.0;

constexpr int kMaxConcurrency = 4'096;
constexpr int kMaxConnections = 1'000;
constexpr int kMaxHalfOpen = 1'000;
constexpr int kMaxClientThreads = 64;
constexpr uint32_t kMaxTurns = 1'000;
constexpr uint32_t kMaxPrefixGroups = 1'000'000;

template <class Number>
absl::Status CheckRange(const char* flag, Number value, std::type_identity_t<Number> low,
                        std::type_identity_t<Number> high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %s to %s, found %s", flag, NumberText(low), NumberText(high), NumberText(value)));
}

// A trace ends by itself.
void SetBounds(LoadOptions& options) {
  RunOptions& run = options.run;
  const bool has_none = run.max_requests == 0 && run.duration_seconds == 0.0 && options.workload.trace_file.empty();
  if (run.max_requests == 0) run.max_requests = has_none ? kDefaultRequests : kMaxRequests;
  if (run.duration_seconds == 0.0) run.duration_seconds = has_none ? kDefaultSeconds : kMaxSeconds;
}

// What names the prompts or how they come may be given once, and random ids' own options with random ids only.
absl::Status CheckSources(const LoadOptions& options) {
  const WorkloadOptions& workload = options.workload;
  const int num_sources =
      (workload.texts.empty() ? 0 : 1) + (workload.jsonl_file.empty() ? 0 : 1) + (workload.trace_file.empty() ? 0 : 1);
  if (num_sources > 1) {
    return absl::InvalidArgumentError(
        "expected one of --text, --jsonl and --trace, found several; leave the others out");
  }
  if (num_sources > 0 && (workload.turns > 1 || workload.prefix_tokens)) {
    return absl::InvalidArgumentError(
        "--turns and --prefix-tokens: expected with random token ids, found with --text, --jsonl or --trace");
  }
  if (!options.run.rate.is_ramp()) return absl::OkStatus();
  if (!workload.trace_file.empty()) {
    return absl::InvalidArgumentError("--rate: expected one number beside --trace, found " +
                                      options.run.rate.ToString());
  }
  if (options.run.duration_seconds > 0.0) return absl::OkStatus();
  return absl::InvalidArgumentError("--rate FROM:TO: expected --duration, which it takes, found none; add it");
}

absl::Status CheckRun(const RunOptions& run) {
  absl::Status status = CheckRange("--requests", run.max_requests, 1, kMaxRequests);
  status.Update(CheckRange("--duration", run.duration_seconds, 0.001, kMaxSeconds));
  status.Update(CheckRange("--warmup", run.warmup_seconds, 0.0, run.duration_seconds));
  status.Update(CheckRange("--timeout", run.timeout_seconds, 0.001, kMaxSeconds));
  status.Update(CheckRange("--concurrency", run.concurrency, 1, kMaxConcurrency));
  status.Update(CheckRange("--connections", run.connections, 1, kMaxConnections));
  status.Update(CheckRange("--half-open", run.half_open, 0, kMaxHalfOpen));
  status.Update(CheckRange("--client-threads", run.client_threads, 1, kMaxClientThreads));
  if (status.ok() && run.client_threads > run.connections) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--client-threads: expected at most --connections (%d): a connection belongs to one thread; "
                        "found %d",
                        run.connections, run.client_threads));
  }
  return status;
}

absl::Status CheckWorkload(const WorkloadOptions& workload) {
  absl::Status status = CheckRange("--turns", workload.turns, 1, kMaxTurns);
  status.Update(CheckRange("--prefix-groups", workload.prefix_groups, 1, kMaxPrefixGroups));
  status.Update(CheckRange("--trace-block-tokens", workload.trace_block_tokens, 1, kTraceBlockTokens));
  return status;
}

}  // namespace

absl::StatusOr<Slo> ParseSlo(std::string_view text) {
  Slo slo;
  for (const absl::string_view part : absl::StrSplit(View(text), ',')) {
    const std::vector<absl::string_view> sides = absl::StrSplit(part, '=');
    double seconds = 0.0;
    const bool is_number = sides.size() == 2 && absl::SimpleAtod(sides[1], &seconds) && seconds > 0.0;
    if (is_number && sides[0] == "ttft") {
      slo.time_to_first_token = seconds;
    } else if (is_number && sides[0] == "tpot") {
      slo.time_per_output_token = seconds;
    } else if (is_number && sides[0] == "e2e") {
      slo.end_to_end = seconds;
    } else {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--slo: expected ttft=SECONDS, tpot=SECONDS, e2e=SECONDS, joined by commas, found \"%s\"", part));
    }
  }
  return slo;
}

absl::Status ParseDeadlines(std::string_view text, WorkloadOptions& workload) {
  const std::vector<absl::string_view> sides = absl::StrSplit(View(text), ':');
  double low = 0.0;
  double high = 0.0;
  if (sides.size() != 2 || !absl::SimpleAtod(sides[0], &low) || !absl::SimpleAtod(sides[1], &high) || !(low > 0.0) ||
      !(high >= low) || high > kMaxSeconds) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--deadline-seconds: expected LOW:HIGH with 0 < LOW <= HIGH <= %s, found \"%s\"",
                        NumberText(kMaxSeconds), text));
  }
  workload.min_deadline_seconds = low;
  workload.max_deadline_seconds = high;
  return absl::OkStatus();
}

absl::Status Complete(LoadOptions& options) {
  if (absl::Status status = CheckSources(options); !status.ok()) return status;
  SetBounds(options);
  absl::Status status = CheckRun(options.run);
  status.Update(CheckWorkload(options.workload));
  status.Update(CheckRange("--max-lag", options.max_lag_seconds, 1e-4, kMaxSeconds));
  status.Update(CheckRange("--check-requests", options.max_checked_requests, 1, 100'000));
  if (status.ok() && !options.metrics.empty() && !options.checks) {
    return absl::InvalidArgumentError("--metrics: expected together with --check, found alone; add --check");
  }
  options.run.keeps_outputs = options.checks;
  WorkloadOptions& workload = options.workload;
  workload.asks_for_token_ids = workload.asks_for_token_ids || options.checks || workload.turns > 1;
  return status;
}

}  // namespace latentd
