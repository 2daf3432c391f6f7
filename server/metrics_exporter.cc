#include "server/metrics_exporter.h"

#include <exception>
#include <limits>
#include <string_view>
#include <utility>

#include <absl/strings/str_format.h>
#include <prometheus/exposer.h>

#include "server/outcomes.h"

namespace latentd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricFamily& AddFamily(std::string_view name, std::string_view help, MetricType type, std::vector<MetricFamily>& all) {
  return all.emplace_back(
      MetricFamily{.name = absl::StrFormat("latentd_%s", name), .help = std::string(help), .type = type, .metric = {}});
}

void AddValue(Labels labels, double value, MetricFamily& family) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

void AddHistogram(Labels labels, const Histogram& histogram, MetricFamily& family) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
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

void AddRequests(const MetricsData& data, std::vector<MetricFamily>& all) {
  auto received = data.requests_received;
  for (const std::string& method : AllMethods()) received.try_emplace(method, 0);
  MetricFamily& arrivals = AddFamily("requests_received_total", "RPCs that arrived", MetricType::Counter, all);
  for (const auto& [method, count] : received) AddValue({{"method", method}}, static_cast<double>(count), arrivals);

  auto finished = data.requests_finished;
  for (const Outcome& outcome : AllOutcomes()) finished.try_emplace(outcome, 0);
  MetricFamily& ends = AddFamily("requests_finished_total", "RPCs that ended, each once", MetricType::Counter, all);
  for (const auto& [outcome, count] : finished) {
    AddValue({{"method", outcome.method}, {"grpc_code", outcome.grpc_code}, {"reason", outcome.reason}},
             static_cast<double>(count), ends);
  }

  static constexpr const char* kPhaseNames[kNumPhases] = {"queued", "prefill", "decode", "output"};
  MetricFamily& live = AddFamily("requests_in_flight", "RPCs received and not finished", MetricType::Gauge, all);
  for (size_t phase = 0; phase < kNumPhases; ++phase) {
    AddValue({{"phase", kPhaseNames[phase]}}, static_cast<double>(data.requests_in_flight[phase]), live);
  }
}

void AddTokens(const MetricsData& data, std::vector<MetricFamily>& all) {
  MetricFamily& prompt =
      AddFamily("prompt_tokens_total", "Prompt tokens by where they came from", MetricType::Counter, all);
  AddValue({{"source", "computed"}}, static_cast<double>(data.prompt_tokens_computed), prompt);
  MetricFamily& generated =
      AddFamily("generated_tokens_total", "Generated tokens by what became of them", MetricType::Counter, all);
  AddValue({{"outcome", "delivered"}}, static_cast<double>(data.generated_tokens_delivered), generated);
  AddValue({{"outcome", "discarded"}}, static_cast<double>(data.generated_tokens_discarded), generated);
}

void AddLatencies(const MetricsData& data, std::vector<MetricFamily>& all) {
  auto durations = data.request_seconds;
  for (const Outcome& outcome : AllOutcomes()) durations.try_emplace(outcome.reason, kRequestSeconds);
  MetricFamily& duration =
      AddFamily("request_duration_seconds", "From arrival to the status, by outcome", MetricType::Histogram, all);
  for (const auto& [reason, histogram] : durations) AddHistogram({{"outcome", reason}}, histogram, duration);

  const auto add = [&all](std::string_view name, std::string_view help, const Histogram& histogram) {
    AddHistogram({}, histogram, AddFamily(name, help, MetricType::Histogram, all));
  };
  add("time_to_first_token_seconds", "From arrival to the first token", data.time_to_first_token_seconds);
  add("inter_token_latency_seconds", "Between two tokens of one request", data.inter_token_latency_seconds);
  add("queue_seconds", "From arrival to the first step", data.queue_seconds);
  add("step_seconds", "Duration of a step", data.step_seconds);
  add("step_rows", "Sequences in a step", data.step_rows);
  add("step_tokens", "Tokens computed in a step", data.step_tokens);
}

void AddCache(const MetricsData& data, std::vector<MetricFamily>& all) {
  MetricFamily& blocks = AddFamily("kv_blocks", "Blocks of the latent cache by state", MetricType::Gauge, all);
  AddValue({{"state", "free"}}, static_cast<double>(data.kv_blocks_free), blocks);
  AddValue({{"state", "active"}}, static_cast<double>(data.kv_blocks_active), blocks);
  AddValue({{"state", "reserved"}}, static_cast<double>(data.kv_blocks_reserved), blocks);
  MetricFamily& capacity =
      AddFamily("kv_blocks_capacity", "Blocks of the latent cache in all states", MetricType::Gauge, all);
  AddValue({}, static_cast<double>(data.kv_blocks_total), capacity);
}

void AddModel(const v1::Model& model, std::vector<MetricFamily>& all) {
  MetricFamily& family = AddFamily("model_info", "The model that is served", MetricType::Gauge, all);
  AddValue({{"name", model.name()},
            {"architecture", model.architecture()},
            {"quantization", model.quantization()},
            {"revision", model.revision()}},
           1.0, family);
}

class SnapshotCollectable final : public prometheus::Collectable {
 public:
  SnapshotCollectable(const Metrics& metrics, const v1::Model& model) : metrics_(metrics), model_(model) {}
  std::vector<MetricFamily> Collect() const override { return CollectFamilies(metrics_.Snapshot(), model_); }

 private:
  const Metrics& metrics_;
  const v1::Model& model_;
};

}  // namespace

std::vector<MetricFamily> CollectFamilies(const MetricsData& data, const v1::Model& model) {
  std::vector<MetricFamily> all;
  AddRequests(data, all);
  AddTokens(data, all);
  AddLatencies(data, all);
  AddCache(data, all);
  AddModel(model, all);
  return all;
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& address,
                                                                        const Metrics& metrics,
                                                                        const v1::Model& model) {
  auto collectable = std::make_shared<SnapshotCollectable>(metrics, model);
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address);
    exposer->RegisterCollectable(collectable);
    const std::string host = address.substr(0, address.rfind(':'));
    const std::string bound = absl::StrFormat("%s:%d", host, exposer->GetListeningPorts().at(0));
    return std::unique_ptr<MetricsExporter>(new MetricsExporter(std::move(exposer), std::move(collectable), bound));
  } catch (const std::exception&) {  // CivetException says nothing that helps
    return absl::UnavailableError(absl::StrFormat(
        "metrics: expected a free HOST:PORT, found %s in use or not an address of this machine; choose another with "
        "--metrics-listen",
        address));
  }
}

MetricsExporter::MetricsExporter(std::unique_ptr<prometheus::Exposer> exposer,
                                 std::shared_ptr<prometheus::Collectable> collectable, std::string address)
    : collectable_(std::move(collectable)), exposer_(std::move(exposer)), address_(std::move(address)) {}

MetricsExporter::~MetricsExporter() = default;

}  // namespace latentd
