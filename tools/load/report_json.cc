#include <nlohmann/json.hpp>

#include "tools/load/report.h"

namespace latentd {
namespace {

using Json = nlohmann::ordered_json;

Json SecondsOf(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

Json Percentiles(const LatencyHistogram& histogram) {
  Json json = {{"count", histogram.count()}, {"mean", histogram.mean() * 1e-9}, {"min", SecondsOf(histogram.min())}};
  static constexpr std::pair<const char*, double> kPercentiles[] = {
      {"p50", 50.0}, {"p90", 90.0}, {"p95", 95.0}, {"p99", 99.0}, {"p99.9", 99.9}};
  for (const auto& [name, percent] : kPercentiles) json[name] = SecondsOf(histogram.Percentile(percent));
  json["max"] = SecondsOf(histogram.max());
  Json buckets = Json::array();
  for (const LatencyHistogram::Bucket& bucket : histogram.Buckets()) {
    buckets.push_back({bucket.lowest, bucket.highest, bucket.count});
  }
  json["buckets_ns"] = std::move(buckets);
  return json;
}

Json Named(const std::vector<NamedHistogram>& entries) {
  Json json = Json::object();
  for (const NamedHistogram& entry : entries) json[entry.name] = Percentiles(entry.histogram);
  return json;
}

Json Lengths(const LengthDistribution& lengths) {
  return {{"shape", lengths.shape == LengthDistribution::Shape::kNormal ? "normal" : "lognormal"},
          {"mean", lengths.mean},
          {"deviation", lengths.deviation},
          {"min", lengths.min},
          {"max", lengths.max}};
}

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json OfRun(const RunOptions& run) {
  Json json = {{"server", run.server}, {"loop", run.loop == Loop::kClosed ? "closed" : "open"}};
  if (run.loop == Loop::kClosed) {
    json["concurrency"] = run.concurrency;
  } else {
    json["rate"] = run.rate.from;
    json["rate_at_end"] = run.rate.to;
    json["arrival"] = run.arrival.ToString();
  }
  json["max_requests"] = run.max_requests;
  json["duration_seconds"] = run.duration_seconds;
  json["warmup_seconds"] = run.warmup_seconds;
  json["timeout_seconds"] = run.timeout_seconds;
  json["connections"] = run.connections;
  json["half_open"] = run.half_open;
  json["client_threads"] = run.client_threads;
  return json;
}

Json OfWorkload(const WorkloadOptions& workload) {
  const v1::Sampling& sampling = workload.sampling;
  Json json = {{"seed", workload.seed}};
  json["prompt"] = !workload.trace_file.empty()   ? "trace"
                   : !workload.jsonl_file.empty() ? "jsonl"
                   : workload.texts.empty()       ? "random_ids"
                                                  : "text";
  json["prompt_tokens"] = Lengths(workload.prompt_tokens);
  json["output_tokens"] = Lengths(workload.output_tokens);
  json["texts"] = workload.texts;
  json["jsonl_file"] = workload.jsonl_file;
  json["trace_file"] = workload.trace_file;
  json["trace_block_tokens"] = workload.trace_block_tokens;
  json["prefix_tokens"] = workload.prefix_tokens ? Lengths(*workload.prefix_tokens) : Json(nullptr);
  json["prefix_groups"] = workload.prefix_groups;
  json["turns"] = workload.turns;
  json["priorities"] = Json::array();
  for (const PriorityShare& entry : workload.priorities) json["priorities"].push_back({entry.priority, entry.share});
  json["ignore_eos"] = workload.ignore_eos;
  json["asks_for_token_ids"] = workload.asks_for_token_ids;
  json["temperature"] = sampling.has_temperature() ? Json(sampling.temperature()) : Json(nullptr);
  json["top_p"] = sampling.has_top_p() ? Json(sampling.top_p()) : Json(nullptr);
  json["top_k"] = sampling.has_top_k() ? Json(sampling.top_k()) : Json(nullptr);
  json["n"] = sampling.has_n() ? sampling.n() : 1;
  json["max_drafts"] = workload.max_drafts ? Json(*workload.max_drafts) : Json(nullptr);
  json["adversaries"] = Json::object();
  for (const BehaviourShare& entry : workload.adversaries) json["adversaries"][NameOf(entry.behaviour)] = entry.share;
  json["accepts_refusals"] = workload.accepts_refusals;
  json["deadline_seconds"] = {workload.min_deadline_seconds, workload.max_deadline_seconds};
  return json;
}

Json OfModel(const v1::Model& model) {
  return {{"name", model.name()},
          {"architecture", model.architecture()},
          {"quantization", model.quantization()},
          {"revision", model.revision()},
          {"fingerprint", model.fingerprint()},
          {"max_context_tokens", model.limits().max_context_tokens()},
          {"max_rows", model.limits().max_rows()},
          {"max_drafts", model.limits().max_drafts()}};
}

Json OfStatuses(const std::vector<StatusCount>& statuses) {
  Json json = Json::array();
  for (const StatusCount& entry : statuses) {
    json.push_back({{"code", entry.code},
                    {"reason", entry.reason},
                    {"count", entry.count},
                    {"unexpected", entry.unexpected},
                    {"example", entry.example}});
  }
  return json;
}

Json OfAdversaries(const std::vector<AdversaryCount>& adversaries) {
  Json json = Json::array();
  for (const AdversaryCount& entry : adversaries) {
    json.push_back(
        {{"name", entry.name}, {"sent", entry.sent}, {"unexpected", entry.unexpected}, {"ends", entry.ends}});
  }
  return json;
}

Json OfProbe(const std::optional<Summary>& probe) {
  if (!probe) return nullptr;
  return {{"requests", {{"sent", probe->sent}, {"succeeded", probe->succeeded}, {"unexpected", probe->unexpected}}},
          {"latency_seconds", Named(probe->latencies)},
          {"statuses", OfStatuses(probe->statuses)}};
}

Json OfTimeline(const std::vector<TimelineSecond>& timeline) {
  Json json = Json::array();
  for (size_t second = 0; second < timeline.size(); ++second) {
    const TimelineSecond& entry = timeline[second];
    json.push_back({{"second", second},
                    {"sent", entry.sent},
                    {"ended", entry.ended},
                    {"output_tokens", entry.output_tokens},
                    {"prompt_tokens", entry.prompt_tokens},
                    {"cached_tokens", entry.cached_tokens},
                    {"ttft_p50", SecondsOf(entry.ttft.median)},
                    {"ttft_p99", SecondsOf(entry.ttft.p99)},
                    {"end_to_end_p50", SecondsOf(entry.end_to_end.median)},
                    {"end_to_end_p99", SecondsOf(entry.end_to_end.p99)}});
  }
  return json;
}

Json OfChecks(const std::vector<CheckOutcome>& checks) {
  static constexpr const char* kVerdicts[] = {"passed", "failed", "skipped"};
  Json json = Json::array();
  for (const CheckOutcome& outcome : checks) {
    json.push_back({{"name", outcome.name},
                    {"verdict", kVerdicts[static_cast<size_t>(outcome.verdict)]},
                    {"detail", outcome.detail}});
  }
  return json;
}

Json OfGoodput(const Goodput& goodput, const Slo& slo) {
  if (!slo.is_set()) return nullptr;
  return {{"eligible", goodput.eligible},
          {"good", goodput.good},
          {"fraction", goodput.fraction},
          {"requests_per_second", goodput.requests_per_second}};
}

Json OfTenants(const std::vector<TenantSummary>& tenants, const Slo& slo) {
  Json json = Json::array();
  for (const TenantSummary& entry : tenants) {
    json.push_back({{"name", entry.tenant.name},
                    {"share", entry.tenant.share},
                    {"weight", entry.tenant.weight},
                    {"sent", entry.sent},
                    {"succeeded", entry.succeeded},
                    {"refused", entry.refused},
                    {"asked_tokens", entry.asked_tokens},
                    {"served_tokens", entry.served_tokens},
                    {"goodput", OfGoodput(entry.goodput, slo)},
                    {"time_to_first_token", Percentiles(entry.time_to_first_token)},
                    {"end_to_end", Percentiles(entry.end_to_end)}});
  }
  return json;
}

void AddResults(const LoadReport& report, Json& json) {
  const Summary& summary = report.summary;
  json["requests"] = {{"sent", summary.sent},
                      {"measured", summary.measured},
                      {"succeeded", summary.succeeded},
                      {"unexpected", summary.unexpected}};
  json["throughput"] = {{"window_seconds", summary.window_seconds},
                        {"requests_per_second", summary.requests_per_second},
                        {"input_tokens_per_second", summary.input_tokens_per_second},
                        {"output_tokens_per_second", summary.output_tokens_per_second}};
  json["goodput"] = OfGoodput(summary.goodput, report.options.slo);
  json["speculation"] = {{"drafted_tokens", summary.speculation.drafted_tokens},
                         {"accepted_tokens", summary.speculation.accepted_tokens},
                         {"acceptance", summary.speculation.acceptance},
                         {"tokens_per_step", summary.speculation.tokens_per_step}};
  json["cache"] = {{"prompt_tokens", summary.cache.prompt_tokens},
                   {"cached_tokens", summary.cache.cached_tokens},
                   {"fraction", summary.cache.fraction}};
  json["tenants"] = OfTenants(summary.tenants, report.options.slo);
  json["fairness"] = summary.tenants.empty() ? Json(nullptr) : Json(summary.fairness);
  json["latency_seconds"] = Named(summary.latencies);
  json["server_timing_seconds"] = Named(summary.server_timings);
  json["lag_seconds"] = Percentiles(summary.lag);
  json["statuses"] = OfStatuses(summary.statuses);
  json["adversaries"] = OfAdversaries(summary.adversaries);
  json["half_open"] = {{"opened", summary.half_open}, {"closed_by_server", summary.half_open_closed_by_server}};
  json["probe"] = OfProbe(report.probe);
  json["client_cpu"] = {{"seconds", summary.cpu_seconds},
                        {"seconds_per_token", summary.cpu_seconds_per_token},
                        {"seconds_per_message", summary.cpu_seconds_per_message}};
  json["timeline"] = OfTimeline(summary.timeline);
  json["checks"] = OfChecks(report.checks);
}

}  // namespace

std::string MakeJson(const LoadReport& report) {
  const LoadOptions& options = report.options;
  Json json = {{"schema", kSchema}, {"started_at", report.started_at}, {"seconds", report.seconds}};
  json["valid"] = report.summary.is_valid;
  json["why_invalid"] = report.summary.why_invalid;
  json["passed"] = report.passed();
  json["interrupted"] = report.was_interrupted;
  json["seed"] = options.workload.seed;
  json["parameters"] = {{"run", OfRun(options.run)},
                        {"workload", OfWorkload(options.workload)},
                        {"slo",
                         {{"ttft", OrNull(options.slo.time_to_first_token)},
                          {"tpot", OrNull(options.slo.time_per_output_token)},
                          {"e2e", OrNull(options.slo.end_to_end)}}},
                        {"max_lag_seconds", options.max_lag_seconds},
                        {"check", options.checks},
                        {"max_checked_requests", options.max_checked_requests},
                        {"metrics", options.metrics}};
  json["model"] = OfModel(report.model);
  json["histogram_max_relative_error"] = LatencyHistogram::kMaxRelativeError;
  AddResults(report, json);
  // A server's message may hold any bytes; what is not UTF-8 becomes U+FFFD rather than an exception.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace latentd
