#include "server/metrics/metrics_exporter.h"

#include <cstddef>
#include <limits>
#include <utility>

#include <absl/strings/str_format.h>
#include <prometheus/text_serializer.h>

#include "server/metrics/metric_catalog.h"

namespace latentd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricType TypeOf(MetricKind kind) {
  if (kind == MetricKind::kCounter) return MetricType::Counter;
  return kind == MetricKind::kGauge ? MetricType::Gauge : MetricType::Histogram;
}

ClientMetric::Histogram Cumulative(const Histogram& histogram) {
  ClientMetric::Histogram shown;
  shown.bucket.reserve(histogram.counts().size());
  uint64_t cumulative = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    cumulative += histogram.counts()[i];
    const bool is_last = i == histogram.upper_bounds().size();
    const double bound = is_last ? std::numeric_limits<double>::infinity() : histogram.upper_bounds()[i];
    shown.bucket.push_back({cumulative, bound});
  }
  shown.sample_count = cumulative;
  shown.sample_sum = histogram.sum();
  return shown;
}

MetricFamily FamilyOf(const MetricDescriptor& metric, const Scrape& scrape) {
  MetricFamily family{.name = metric.name, .help = metric.help, .type = TypeOf(metric.kind), .metric = {}};
  for (const Series& series : metric.read(scrape)) {
    ClientMetric& shown = family.metric.emplace_back();
    for (const auto& [name, value] : series.labels) shown.label.push_back({name, value});
    if (series.histogram != nullptr) shown.histogram = Cumulative(*series.histogram);
    (metric.kind == MetricKind::kCounter ? shown.counter.value : shown.gauge.value) = series.value;
  }
  return family;
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
                                          const ServingState::View& view, const AccessFacts& access,
                                          const MetricsCompat& compat) {
  const Scrape scrape{.data = data,
                      .facts = facts,
                      .served_name = compat.served_name,
                      .view = view,
                      .connections = ConnectionTable::OfProcess().counts(),
                      .access = access,
                      .process = ReadProcessFacts()};
  std::vector<MetricFamily> all;
  all.reserve(MetricCatalog().size());
  for (const MetricDescriptor& metric : MetricCatalog()) all.push_back(FamilyOf(metric, scrape));
  if (!compat.has_vllm) return all;
  for (const MetricDescriptor& metric : VllmCatalog()) all.push_back(FamilyOf(metric, scrape));
  return all;
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& address,
                                                                        const Parts& parts) {
  const absl::StatusOr<Address> parsed = ParseAddress(address, AddressUse::kHttpListener);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrFormat("metrics-listen: %s", std::string(parsed.status().message())));
  }
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(*parsed, "--metrics-listen");
  if (!socket.ok()) return socket.status();
  std::unique_ptr<MetricsExporter> exporter(new MetricsExporter(parts));
  absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(
      *std::move(socket),
      {.answer = [self = exporter.get()](std::string_view path) { return self->AnswerTo(path); },
       .refuses = [self = exporter.get()](const HttpRequest& request) { return self->Refuses(request); }});
  if (!server.ok()) return server.status();
  exporter->server_ = *std::move(server);
  return exporter;
}

void MetricsExporter::SetFacts(ExporterFacts facts) {
  const std::lock_guard lock(mutex_);
  facts_ = std::move(facts);
}

int MetricsExporter::Refuses(const HttpRequest& request) {
  if (request.path != "/metrics") return 0;
  Shown shown;
  for (const std::string& value : request.authorization) shown.authorization.emplace_back(value);
  const Verdict verdict = parts_.access.authority.Judge(shown, kMayScrape, AccessPoint::kMetrics).verdict;
  if (verdict == Verdict::kGranted) return 0;
  return verdict == Verdict::kNoRight ? 403 : 401;
}

HttpAnswer MetricsExporter::AnswerTo(std::string_view path) {
  if (path == "/metrics") return Page();
  if (path == "/health") return {.body = "alive\n"};
  if (path == "/ready") return Readiness(parts_.state.view());
  return HttpRefusal(404);
}

AccessFacts MetricsExporter::AccessNow() const {
  const Certificates* certificates = parts_.access.certificates;
  return {.counts = parts_.access.authority.counts(),
          .certificates = certificates == nullptr ? CertificateCounts{} : certificates->counts()};
}

HttpAnswer MetricsExporter::Page() {
  const std::lock_guard lock(mutex_);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(
              CollectFamilies(parts_.metrics.Snapshot(), facts_, parts_.state.view(), AccessNow(), parts_.compat))};
}

}  // namespace latentd
