// deploy/METRICS.md, from the catalog.
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "server/api/outcomes.h"
#include "server/metrics/metric_catalog.h"
#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

constexpr const char* kIntroduction = R"(# Metrics

This page is generated: `latentd_metrics_doc > deploy/METRICS.md`; a test compares it with the code.

`http://HOST:PORT/metrics` of `--metrics-listen`, in the Prometheus text format. One scrape is one moment: a copy of all
counters taken under one lock, between two reports of the engine. The page is served from before the weights are loaded,
and every series is there from the start.

A request's latencies, lengths and waste are observed when it ends, in the moment in which it is counted as finished,
with its outcome; so all of them are there for each outcome but ANSWERS_FULL, and none is missing because it failed.
Label `outcome` has the values of `reason` in `latentd_requests_finished_total`. Bucket bounds are those of
`base/histogram.h`; no knob changes them.
)";

constexpr const char* kLaws = R"(
## Laws

Each scrape satisfies them exactly.

- received = finished + in flight:
  `sum(latentd_requests_received_total) == sum(latentd_requests_finished_total) + sum(latentd_requests_in_flight)`
- every outcome has its duration:
  `sum(latentd_request_duration_seconds_count) == sum(latentd_requests_finished_total)`, and the same per reason
- prompt tokens = computed + found in the prefix cache, and those that are not yet or never will be; recomputed ones
  were counted before: `sum(latentd_prompt_tokens_admitted_total) ==
  sum(latentd_prompt_tokens_total{source!="recomputed"}) + sum(latentd_prompt_tokens_abandoned_total) +
  sum(latentd_prompt_tokens_pending)`
- found in the prefix cache ≤ looked for:
  `latentd_prefix_cache_hit_tokens_total <= latentd_prefix_cache_queried_tokens_total`
- free + active + cached + reserved = total:
  `sum(latentd_kv_blocks) == sum(latentd_kv_blocks_capacity)`
- accepted drafts were verified: `latentd_spec_accepted_tokens_total <= latentd_spec_drafted_tokens_total` for each
  `position`; and in both no position has more than the one before it
- steps are counted alike:
  `sum(latentd_step_seconds_count) == sum(latentd_step_rows_count)`, and as many `latentd_step_tokens_count`
- loaded + pending = all tensors: `sum(latentd_model_load_bytes)` changes once, when they are found
- exactly one state: `sum(latentd_state) == 1`

`latentd_stream_backlog_bytes` and `process_*` are read beside the lock; no law needs them.

## Health

Readiness is `grpc.health.v1` for the empty service name and for each service: NOT_SERVING while the engine has work and
finished no step for `stall_seconds` (`latentd_engine_stalls_total` counts such times once each, `latentd_state` says
`stalled`), while no connection can be accepted (`latentd_accepting`), and from the beginning of a drain on; `/ready`
beside the metrics says the same. Liveness is the service name `latentd.liveness`, or `/health`: SERVING for as long as
the process answers, stalled or draining as it may be. Restart on liveness, route on readiness.
)";

constexpr const char* kCompat = R"(
## With --metrics-compat=vllm

The same page then has these, too: what is above, added up under the names that dashboards and the pickers of Kubernetes
know from vLLM. `model_name` is the first of `--served-model-name`.
)";

const char* NameOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return "counter";
    case MetricKind::kGauge:
      return "gauge";
    case MetricKind::kHistogram:
      return "histogram";
  }
  return "";
}

std::string RenderLabels(const MetricDescriptor& metric) {
  constexpr size_t kMostValuesInACell = 9;
  const auto render = [](std::string* out, const LabelDescriptor& label) {
    absl::StrAppend(out, "`", label.name, "`");
    if (label.values.empty()) return;
    if (label.values.size() > kMostValuesInACell) {
      absl::StrAppend(out, ": see below");
    } else {
      absl::StrAppend(out, ": ", absl::StrJoin(label.values, ", "));
    }
  };
  return absl::StrJoin(metric.labels, "; ", render);
}

void AppendTable(const std::vector<MetricDescriptor>& catalog, std::string& page) {
  absl::StrAppend(&page, "\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
  for (const MetricDescriptor& metric : catalog) {
    absl::StrAppend(&page, "| `", metric.name, "` | ", NameOf(metric.kind), " | ", metric.unit, " | ",
                    RenderLabels(metric), " | ", metric.help, " |\n");
  }
}

void AppendLongLists(std::string& page) {
  const auto append = [&page](const char* label, const std::vector<std::string>& values) {
    absl::StrAppend(&page, "\nValues of `", label, "`: ", absl::StrJoin(values, ", "), ".\n");
  };
  append("priority", PriorityNames());
  append("method", AllMethods());
  append("grpc_code", AllCodes());
  append("reason", AllReasons());
  absl::StrAppend(
      &page, "\nValues of `outcome`: those of `reason` for `latentd_request_duration_seconds`; for all other ",
      "latencies those that an admitted request can have, without ANSWERS_FULL: ", absl::StrJoin(RunReasons(), ", "),
      ".\n");
}

const char* NameOf(Party party) {
  switch (party) {
    case Party::kNone:
      return "";
    case Party::kClient:
      return "client";
    case Party::kServer:
      return "server";
    case Party::kOperator:
      return "operator";
  }
  return "";
}

constexpr const char* kReasons = R"(
## Reasons

An RPC runs once the engine admitted its request; those without a model never do. A reason ends RPCs before they run, in
their run, or both; one that is counted as rejected is counted in `latentd_admission_rejected_total` where it comes
before. ANSWERS_FULL ends requests of GenerateOnce and Score, too, that ran to their end and whose answer gave way to
others before its client took it: all their tokens are wasted, but neither these nor their latencies have series. A
request with several answers has the reason of the first that failed, else that of the answer with index 0.

| reason | code | brought about by | before a run | ends a run | counted as rejected | wasted tokens |
|---|---|---|---|---|---|---|
)";

const char* WasteOf(const CauseRow& row) {
  switch (row.occurs.waste) {
    case Waste::kNone:
      return "";
    case Waste::kSurplus:
      return "surplus";
    case Waste::kAll:
      break;
  }
  return row.has_run_series() ? "all" : "all, not counted";
}

// What operators ask of a reason: is it a fault, whose, and what did it cost?
void AppendReasons(std::string& page) {
  const auto yes = [](bool is_so) { return is_so ? "yes" : ""; };
  absl::StrAppend(&page, kReasons);
  for (const CauseRow& row : kCauses) {
    if (row.occurs.methods == 0) continue;  // it has no series
    const std::string cells[] = {
        std::string(row.reason), absl::StatusCodeToString(row.code), NameOf(row.party), yes(row.ends_before_run()),
        yes(row.ends_run()),     yes(row.refuses_admission()),       WasteOf(row)};
    absl::StrAppend(&page, "| ", absl::StrJoin(cells, " | "), " |\n");
  }
}

void AppendUnavailable(const std::vector<UnavailableMetric>& metrics, std::string& page) {
  for (const UnavailableMetric& metric : metrics)
    absl::StrAppend(&page, "- `", metric.name, "`: ", metric.reason, "\n");
}

}  // namespace

std::string RenderMetricsPage() {
  std::string page = kIntroduction;
  AppendTable(MetricCatalog(), page);
  AppendLongLists(page);
  AppendReasons(page);
  absl::StrAppend(&page, kLaws, kCompat);
  AppendTable(VllmCatalog(), page);
  absl::StrAppend(&page, "\n## Not yet\n\nNot exported, because nothing could ever move them:\n\n");
  AppendUnavailable(NotYetExported(), page);
  return page;
}

}  // namespace latentd
