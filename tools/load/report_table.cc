#include <algorithm>
#include <fstream>

#include <absl/strings/str_format.h>

#include "tools/load/report.h"

namespace latentd {
namespace {

constexpr double kPercentiles[] = {50.0, 90.0, 95.0, 99.0, 99.9};

double Milliseconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; }

std::string LatencyRow(const NamedHistogram& entry) {
  const LatencyHistogram& histogram = entry.histogram;
  std::string row = absl::StrFormat("  %-22s %8d %9.2f", entry.title, histogram.count(), histogram.mean() * 1e-6);
  for (const double percent : kPercentiles) {
    row += absl::StrFormat(" %9.2f", Milliseconds(histogram.Percentile(percent)));
  }
  return row + absl::StrFormat(" %9.2f\n", Milliseconds(histogram.max()));
}

std::string Latencies(const LoadReport& report) {
  const bool is_open = report.options.run.loop == Loop::kOpen;
  std::string text = absl::StrFormat("latency in ms, from the %s\n  %-22s %8s %9s %9s %9s %9s %9s %9s %9s\n",
                                     is_open ? "intended start" : "start", "", "count", "mean", "p50", "p90", "p95",
                                     "p99", "p99.9", "max");
  for (const NamedHistogram& entry : report.summary.latencies) text += LatencyRow(entry);
  for (const NamedHistogram& entry : report.summary.server_timings) text += LatencyRow(entry);
  if (is_open) text += LatencyRow({"lag", "client's own lag", report.summary.lag});
  return text;
}

std::string Head(const LoadReport& report) {
  const RunOptions& run = report.options.run;
  std::string loop = absl::StrFormat("closed loop, concurrency %d", run.concurrency);
  if (run.loop == Loop::kOpen) {
    const bool is_trace = !report.options.workload.trace_file.empty();
    loop = "open loop, ";
    loop += is_trace && run.rate.from == 0.0 ? "as recorded" : run.rate.ToString() + " requests/s";
    loop += is_trace ? ", trace" : ", " + run.arrival.ToString();
  }
  return absl::StrFormat("latentctl load: %s, %s, %s\n  %s, connections %d, seed %d, %.2f s%s\n\n", run.server,
                         report.model.name(), report.model.fingerprint(), loop, run.connections,
                         report.options.workload.seed, report.seconds, report.was_interrupted ? ", interrupted" : "");
}

std::string Drafts(const Speculation& speculation) {
  if (speculation.drafted_tokens == 0) return "speculation nothing drafted\n";
  return absl::StrFormat("speculation %d drafted, %d accepted (%.2f %%), %.2f tokens per step of an answer\n",
                         speculation.drafted_tokens, speculation.accepted_tokens, speculation.acceptance * 100.0,
                         speculation.tokens_per_step);
}

std::string Cached(const CacheHits& cache) {
  return absl::StrFormat("cache       %d of %d prompt tokens were cached (%.2f %%)\n", cache.cached_tokens,
                         cache.prompt_tokens, cache.fraction * 100.0);
}

std::string Throughput(const LoadReport& report) {
  const Summary& summary = report.summary;
  std::string text = absl::StrFormat(
      "requests    %d sent, %d measured, %d of them succeeded, %d failed unexpectedly\n"
      "throughput  %.2f requests/s, in %.1f tokens/s, out %.1f tokens/s\n",
      summary.sent, summary.measured, summary.succeeded, summary.unexpected, summary.requests_per_second,
      summary.input_tokens_per_second, summary.output_tokens_per_second);
  if (report.options.slo.is_set()) {
    text += absl::StrFormat("goodput     %.2f %% (%d of %d), %.2f requests/s\n", summary.goodput.fraction * 100.0,
                            summary.goodput.good, summary.goodput.eligible, summary.goodput.requests_per_second);
  }
  text += Drafts(summary.speculation) + Cached(summary.cache);
  return text + absl::StrFormat("client CPU  %.2f s: %.2f us per token, %.2f us per message\n\n", summary.cpu_seconds,
                                summary.cpu_seconds_per_token * 1e6, summary.cpu_seconds_per_message * 1e6);
}

std::string Tenants(const LoadReport& report) {
  const Summary& summary = report.summary;
  if (summary.tenants.empty()) return "";
  std::string text = absl::StrFormat("\n  %-22s %8s %9s %9s %9s %9s %9s %9s\n", "tenant", "sent", "succeeded",
                                     "refused", "goodput %", "served", "TTFT p50", "TTFT p99");
  for (const TenantSummary& entry : summary.tenants) {
    text += absl::StrFormat("  %-22s %8d %9d %9d %9.2f %9d %9.2f %9.2f\n", entry.tenant.name, entry.sent,
                            entry.succeeded, entry.refused, entry.goodput.fraction * 100.0, entry.served_tokens,
                            Milliseconds(entry.time_to_first_token.Percentile(50.0)),
                            Milliseconds(entry.time_to_first_token.Percentile(99.0)));
  }
  return text + absl::StrFormat("  fairness index %.4f, of tokens served while requests were sent\n", summary.fairness);
}

std::string Probed(const std::optional<Summary>& probe) {
  if (!probe) return "";
  std::string text =
      absl::StrFormat("\nprobe: %d requests beside the load, %d of them succeeded\n", probe->sent, probe->succeeded);
  for (const NamedHistogram& entry : probe->latencies) text += LatencyRow(entry);
  return text;
}

std::string Adversaries(const Summary& summary) {
  if (summary.adversaries.empty() && summary.half_open == 0) return "";
  std::string text = absl::StrFormat("\n  %-20s %8s %11s  ends\n", "adversaries", "count", "unexpected");
  for (const AdversaryCount& entry : summary.adversaries) {
    text += absl::StrFormat("  %-20s %8d %11d ", entry.name, entry.sent, entry.unexpected);
    for (const auto& [end, count] : entry.ends) text += absl::StrFormat(" %s: %d;", end, count);
    text.back() = text.back() == ';' ? '\n' : text.back();
  }
  if (summary.half_open == 0) return text;
  return text + absl::StrFormat("  %-20s %8d              closed by the server: %d\n", "half-open", summary.half_open,
                                summary.half_open_closed_by_server);
}

std::string Statuses(const Summary& summary) {
  std::string text = absl::StrFormat("\n  %-20s %-24s %8s %11s\n", "status", "reason", "count", "unexpected");
  for (const StatusCount& entry : summary.statuses) {
    text += absl::StrFormat("  %-20s %-24s %8d %11d\n", entry.code, entry.reason.empty() ? "-" : entry.reason,
                            entry.count, entry.unexpected);
    if (!entry.example.empty()) text += absl::StrFormat("    for example: %s\n", entry.example);
  }
  return text;
}

std::string Checks(const std::vector<CheckOutcome>& checks) {
  static constexpr const char* kVerdicts[] = {"passed", "FAILED", "SKIPPED"};
  std::string text = checks.empty() ? "" : "\n";
  for (const CheckOutcome& outcome : checks) {
    text += absl::StrFormat("check %-32s %s: %s\n", outcome.name, kVerdicts[static_cast<size_t>(outcome.verdict)],
                            outcome.detail);
  }
  return text;
}

}  // namespace

bool LoadReport::passed() const {
  const auto has_failed = [](const CheckOutcome& outcome) { return outcome.verdict == Verdict::kFailed; };
  return summary.unexpected == 0 && (!probe || probe->unexpected == 0) &&
         std::none_of(checks.begin(), checks.end(), has_failed);
}

std::string MakeTable(const LoadReport& report) {
  std::string text = Head(report) + Throughput(report) + Latencies(report) + Tenants(report) + Probed(report.probe) +
                     Statuses(report.summary) + Adversaries(report.summary) + Checks(report.checks);
  if (!report.summary.is_valid) text += "\nINVALID: " + report.summary.why_invalid + "\n";
  return text;
}

absl::Status WriteFile(const std::string& file, const std::string& contents) {
  std::ofstream stream(file, std::ios::binary);
  stream << contents;
  stream.close();
  if (stream) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrFormat("expected to write %s, found that it can't be; name another file", file));
}

}  // namespace latentd
