#include "server/metrics/metrics_exporter.h"

#include <array>
#include <chrono>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include <absl/strings/str_format.h>
#include <prometheus/text_serializer.h>

#include "base/check.h"
#include "server/api/outcomes.h"
#include "server/metrics/metric_catalog.h"
#include "server/metrics/process_metrics.h"
#include "server/net/connection_table.h"

namespace latentd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricType TypeOf(MetricKind kind) {
  if (kind == MetricKind::kCounter) return MetricType::Counter;
  return kind == MetricKind::kGauge ? MetricType::Gauge : MetricType::Histogram;
}

MetricFamily& AddFamily(std::string_view name, std::vector<MetricFamily>& all) {
  const MetricDescriptor& metric = DescriptorOf(name);
  return all.emplace_back(
      MetricFamily{.name = metric.name, .help = metric.help, .type = TypeOf(metric.kind), .metric = {}});
}

void AddSample(Labels labels, double value, MetricFamily& family) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

template <class Number>
void AddValue(Labels labels, Number value, MetricFamily& family) {
  AddSample(std::move(labels), static_cast<double>(value), family);
}

template <class Number>
void AddScalar(std::string_view name, Number value, std::vector<MetricFamily>& all) {
  AddValue({}, value, AddFamily(name, all));
}

// One series per value of the only label, in the catalog's order, which is the enum's.
template <class Values>
void AddByEnum(std::string_view name, const Values& values, std::vector<MetricFamily>& all) {
  const LabelDescriptor& label = DescriptorOf(name).labels.at(0);
  CHECK_EQ(label.values.size(), std::size(values));
  MetricFamily& family = AddFamily(name, all);
  size_t i = 0;
  for (const auto& value : values) AddValue({{label.name, label.values[i++]}}, value, family);
}

void AddHistogram(Labels labels, const Histogram& histogram, MetricFamily& family) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.histogram.bucket.reserve(histogram.counts().size());
  uint64_t cumulative = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    cumulative += histogram.counts()[i];
    const bool is_last = i == histogram.upper_bounds().size();
    const double bound = is_last ? std::numeric_limits<double>::infinity() : histogram.upper_bounds()[i];
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = histogram.sum();
}

uint64_t FinishedFor(Cause cause, const MetricsData& data) {
  uint64_t total = 0;
  for (const auto& [outcome, count] : data.requests_finished) {
    if (outcome.reason == RowOf(cause).reason) total += count;
  }
  return total;
}

void AddRequests(const MetricsData& data, std::vector<MetricFamily>& all) {
  auto received = data.requests_received;
  for (const std::string& method : AllMethods()) received.try_emplace(method, 0);
  MetricFamily& arrivals = AddFamily("latentd_requests_received_total", all);
  for (const auto& [method, count] : received) AddValue({{"method", method}}, count, arrivals);

  auto finished = data.requests_finished;
  for (const Outcome& outcome : AllOutcomes()) finished.try_emplace(outcome, 0);
  MetricFamily& ends = AddFamily("latentd_requests_finished_total", all);
  for (const auto& [outcome, count] : finished) {
    AddValue({{"method", outcome.method}, {"grpc_code", outcome.grpc_code}, {"reason", outcome.reason}}, count, ends);
  }
  AddByEnum("latentd_requests_in_flight", data.requests_in_flight, all);
  AddByEnum("latentd_queue_wait_reason_total", data.queue_waits, all);
  MetricFamily& rejected = AddFamily("latentd_admission_rejected_total", all);
  for (const std::string& reason : AdmissionReasons()) {
    const auto found = data.admission_rejected.find(reason);
    AddValue({{"reason", reason}}, found == data.admission_rejected.end() ? 0 : found->second, rejected);
  }
  AddByEnum("latentd_deadline_exceeded_total",
            std::array{FinishedFor(Cause::kExpiredInQueue, data), FinishedFor(Cause::kExpiredInPrefill, data),
                       FinishedFor(Cause::kExpiredInDecode, data)},
            all);
}

void AddTokens(const MetricsData& data, std::vector<MetricFamily>& all) {
  constexpr uint64_t kFromPrefixCache = 0;  // there is none
  AddByEnum("latentd_prompt_tokens_total", std::array{data.prompt_tokens_computed, kFromPrefixCache}, all);
  AddScalar("latentd_prompt_tokens_admitted_total", data.prompt_tokens_admitted, all);
  AddScalar("latentd_prompt_tokens_abandoned_total", data.prompt_tokens_abandoned, all);
  AddScalar("latentd_prompt_tokens_pending", data.prompt_tokens_pending, all);
  AddByEnum("latentd_generated_tokens_total",
            std::array{data.generated_tokens_delivered, data.generated_tokens_discarded}, all);
  MetricFamily& wasted = AddFamily("latentd_wasted_tokens_total", all);
  for (const std::string& cause : WasteCauses()) {
    const auto found = data.outcomes.find(cause);
    AddValue({{"cause", cause}}, found == data.outcomes.end() ? 0 : found->second.wasted_tokens, wasted);
  }
  AddHistogram({}, data.prompt_length_tokens, AddFamily("latentd_prompt_length_tokens", all));
  AddHistogram({}, data.generation_length_tokens, AddFamily("latentd_generation_length_tokens", all));
}

struct Latency {
  const char* name;
  Histogram OutcomeTotals::*histogram;
};
constexpr Latency kLatencies[] = {
    {"latentd_request_duration_seconds", &OutcomeTotals::request_seconds},
    {"latentd_queue_seconds", &OutcomeTotals::queue_seconds},
    {"latentd_prefill_seconds", &OutcomeTotals::prefill_seconds},
    {"latentd_time_to_first_token_seconds", &OutcomeTotals::time_to_first_token_seconds},
    {"latentd_decode_seconds", &OutcomeTotals::decode_seconds},
    {"latentd_inter_token_latency_seconds", &OutcomeTotals::inter_token_latency_seconds},
    {"latentd_time_per_output_token_seconds", &OutcomeTotals::time_per_output_token_seconds},
    {"latentd_cancel_to_release_seconds", &OutcomeTotals::cancel_to_release_seconds},
};

void AddLatencies(const MetricsData& data, std::vector<MetricFamily>& all) {
  static const OutcomeTotals none;
  for (const Latency& latency : kLatencies) {
    MetricFamily& family = AddFamily(latency.name, all);
    for (const std::string& reason : DescriptorOf(latency.name).labels.at(0).values) {
      const auto found = data.outcomes.find(reason);
      const OutcomeTotals& totals = found == data.outcomes.end() ? none : found->second;
      AddHistogram({{"outcome", reason}}, totals.*latency.histogram, family);
    }
  }
}

void AddCache(const MetricsData& data, const ExporterFacts& facts, std::vector<MetricFamily>& all) {
  constexpr int64_t kCached = 0;  // there is no prefix cache
  AddByEnum(
      "latentd_kv_blocks",
      std::array{data.kv_blocks_free, data.kv_blocks_promised, data.kv_blocks_active, kCached, data.kv_blocks_reserved},
      all);
  AddScalar("latentd_kv_blocks_capacity", data.kv_blocks_total, all);
  AddScalar("latentd_kv_bytes", facts.kv_bytes, all);
}

double UnixSeconds(TimePoint time) {
  if (time == kNever) return 0.0;
  const Duration ago = std::chrono::steady_clock::now() - time;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()) - Seconds(ago);
}

void AddSteps(const MetricsData& data, std::vector<MetricFamily>& all) {
  MetricFamily& duration = AddFamily("latentd_step_seconds", all);
  const LabelDescriptor& kind = DescriptorOf("latentd_step_seconds").labels.at(0);
  for (size_t i = 0; i < kNumStepKinds; ++i) {
    AddHistogram({{kind.name, kind.values.at(i)}}, data.step_seconds[i], duration);
  }
  AddHistogram({}, data.step_tokens, AddFamily("latentd_step_tokens", all));
  AddHistogram({}, data.step_rows, AddFamily("latentd_step_rows", all));
  AddHistogram({}, data.scheduler_seconds, AddFamily("latentd_scheduler_seconds", all));
  AddHistogram({}, data.step_gap_seconds, AddFamily("latentd_step_gap_seconds", all));
  AddScalar("latentd_nonfinite_rows_total", data.nonfinite_rows, all);
  AddScalar("latentd_last_step_timestamp_seconds", UnixSeconds(data.last_step), all);
  AddScalar("latentd_engine_stalls_total", data.engine_stalls, all);
}

void AddStreams(const MetricsData& data, std::vector<MetricFamily>& all) {
  AddScalar("latentd_stream_backlog_bytes", data.stream_backlog_bytes, all);
  AddByEnum("latentd_buffered_bytes", std::array{data.request_bytes, data.answer_bytes}, all);
  AddByEnum("latentd_buffered_bytes_capacity", std::array{data.max_buffered_bytes, data.max_buffered_bytes}, all);
  AddByEnum("latentd_buffer_refusals_total",
            std::array{FinishedFor(Cause::kIntakeFull, data) + FinishedFor(Cause::kSlowSender, data),
                       FinishedFor(Cause::kAnswersFull, data)},
            all);
  AddByEnum("latentd_slow_consumer_total",
            std::array{data.sequences_paused, data.sequences_resumed, FinishedFor(Cause::kSlowConsumer, data)}, all);
}

void AddConnections(const ConnectionCounts& counts, const ServingState::View& view, std::vector<MetricFamily>& all) {
  AddByEnum("latentd_connections", counts.open, all);
  AddByEnum("latentd_connections_refused_total", counts.refused, all);
  AddByEnum("latentd_connections_cut_off_total", counts.cut, all);
  AddScalar("latentd_accepting", view.AcceptsAll() ? 1 : 0, all);
}

void AddLifecycle(const MetricsData& data, const ExporterFacts& facts, std::vector<MetricFamily>& all) {
  AddValue({{"version", LATENTD_VERSION}, {"compiler", LATENTD_COMPILER}, {"architecture", LATENTD_ARCHITECTURE}}, 1,
           AddFamily("latentd_build_info", all));
  AddValue({{"name", facts.model.name()},
            {"architecture", facts.model.architecture()},
            {"quantization", facts.model.quantization()},
            {"revision", facts.model.revision()}},
           1, AddFamily("latentd_model_info", all));
  Labels config;
  for (const auto& [name, value] : facts.config) config.push_back({name, value});
  AddValue(std::move(config), 1, AddFamily("latentd_config_info", all));
  AddByEnum("latentd_model_load_bytes",
            std::array{data.model_bytes_loaded, data.model_bytes_total - data.model_bytes_loaded}, all);
  AddByEnum("latentd_startup_seconds", data.startup_seconds, all);
  std::array<int, kNumServerStates> states{};
  states[static_cast<size_t>(data.state)] = 1;
  AddByEnum("latentd_state", states, all);
}

void AddProcess(const ProcessFacts& process, std::vector<MetricFamily>& all) {
  AddScalar("process_cpu_seconds_total", process.cpu_seconds, all);
  AddScalar("process_resident_memory_bytes", process.resident_bytes, all);
  AddScalar("process_virtual_memory_bytes", process.virtual_bytes, all);
  AddScalar("process_open_fds", process.num_open_files, all);
  AddScalar("process_max_fds", process.max_open_files, all);
  AddScalar("process_threads", process.num_threads, all);
  AddScalar("process_start_time_seconds", process.start_time_seconds, all);
}

HttpAnswer Readiness(const ServingState::View& view) {
  if (view.is_ready()) return {.body = "ready\n"};
  const auto refuse = [](const char* why) { return HttpAnswer{.status = 503, .body = why}; };
  switch (view.stage) {
    case ServingState::Stage::kLoading:
      return refuse("loading\n");
    case ServingState::Stage::kStalled:
      return refuse("stalled\n");
    case ServingState::Stage::kDraining:
      return refuse("draining\n");
    case ServingState::Stage::kServing:
      break;
  }
  return refuse("accepts no connections\n");
}

}  // namespace

std::vector<MetricFamily> CollectFamilies(const MetricsData& data, const ExporterFacts& facts,
                                          const ServingState::View& view) {
  std::vector<MetricFamily> all;
  all.reserve(MetricCatalog().size());
  AddRequests(data, all);
  AddLatencies(data, all);
  AddTokens(data, all);
  AddCache(data, facts, all);
  AddSteps(data, all);
  AddStreams(data, all);
  AddConnections(ConnectionTable::OfProcess().counts(), view, all);
  AddLifecycle(data, facts, all);
  AddProcess(ReadProcessFacts(), all);
  return all;
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& address,
                                                                        const Metrics& metrics,
                                                                        const ServingState& state) {
  const absl::StatusOr<Address> parsed = ParseAddress(address, AddressUse::kHttpListener);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrFormat("metrics-listen: %s", std::string(parsed.status().message())));
  }
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(*parsed, "--metrics-listen");
  if (!socket.ok()) return socket.status();
  std::unique_ptr<MetricsExporter> exporter(new MetricsExporter(metrics, state));
  absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(
      *std::move(socket), [self = exporter.get()](std::string_view path) { return self->AnswerTo(path); });
  if (!server.ok()) return server.status();
  exporter->server_ = *std::move(server);
  return exporter;
}

void MetricsExporter::SetFacts(ExporterFacts facts) {
  const std::lock_guard lock(mutex_);
  facts_ = std::move(facts);
}

HttpAnswer MetricsExporter::AnswerTo(std::string_view path) {
  if (path == "/metrics") return Page();
  if (path == "/health") return {.body = "alive\n"};
  if (path == "/ready") return Readiness(state_.view());
  return HttpRefusal(404);
}

HttpAnswer MetricsExporter::Page() {
  const std::lock_guard lock(mutex_);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(CollectFamilies(metrics_.Snapshot(), facts_, state_.view()))};
}

}  // namespace latentd
