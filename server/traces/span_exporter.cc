#include "server/traces/span_exporter.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <absl/strings/str_format.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/now.h"
#include "base/quoting.h"

namespace latentd {
namespace {

constexpr std::chrono::seconds kCallTime{10};  // as OpenTelemetry's own exporters give a call
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{30};
constexpr int kMostTries = 12;  // about five minutes

std::unique_ptr<otlp::TraceService::Stub> StubOf(const OtlpEndpoint& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(kFirstPause / std::chrono::milliseconds(1)));
  const auto credentials = endpoint.has_tls ? grpc::SslCredentials({}) : grpc::InsecureChannelCredentials();
  return otlp::TraceService::NewStub(grpc::CreateCustomChannel(endpoint.address.ToString(), credentials, arguments));
}

uint64_t Seed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

std::string InstanceName() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("%s-%d", OnOneLine(host), getpid());
}

// The wait that a collector asks for; zero: it says none.
Duration AskedPause(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return {};
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::RetryInfo retry;
    if (!detail.UnpackTo(&retry)) continue;
    return std::chrono::seconds(retry.retry_delay().seconds()) + std::chrono::nanoseconds(retry.retry_delay().nanos());
  }
  return {};
}

// OTLP specification, "Failures": these alone may be sent again, RESOURCE_EXHAUSTED where a wait is asked for.
bool MayBeSentAgain(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DATA_LOSS:
      return true;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return AskedPause(status) > Duration::zero();
    default:
      return false;
  }
}

}  // namespace

SpanExporter::SpanExporter(const OtlpEndpoint& endpoint, const std::string& model, SpanQueue& queue, Metrics& metrics)
    : endpoint_(endpoint.address.ToString()),
      resource_{.model = model, .instance = InstanceName()},
      queue_(queue),
      metrics_(metrics),
      stub_(StubOf(endpoint)),
      random_(Seed()),
      thread_([this] { Run(); }) {}

void SpanExporter::Finish(TimePoint deadline) {
  if (!thread_.joinable()) return;
  finish_by_ = deadline;
  queue_.Close();
  {
    std::unique_lock lock(mutex_);
    over_.wait_until(lock, deadline, [this] { return is_over_; });
    if (in_flight_ != nullptr) in_flight_->TryCancel();
  }
  thread_.join();
}

void SpanExporter::Run() {
  for (std::vector<RequestSpan> batch = queue_.Take(); !batch.empty(); batch = queue_.Take()) Send(batch);
  const std::lock_guard lock(mutex_);
  is_over_ = true;
  over_.notify_all();
}

void SpanExporter::Send(const std::vector<RequestSpan>& batch) {
  const otlp::ExportTraceServiceRequest request = ExportRequestOf(batch, resource_, [this] { return random_(); });
  for (int tries = 1; Now() < finish_by_.load(); ++tries) {
    const Answer answer = Export(request);
    Report(answer);
    if (answer.status.ok()) {
      const size_t num_rejected =
          std::min(batch.size(), static_cast<size_t>(std::max<int64_t>(0, answer.num_rejected)));
      Count(SpanFate::kRejected, num_rejected);
      return Count(SpanFate::kExported, batch.size() - num_rejected);
    }
    const Duration pause = PauseAfter(answer.status, tries);
    if (pause == Duration::zero() || queue_.is_closed()) break;
    queue_.AwaitClosed(Now() + pause);
  }
  Count(SpanFate::kFailed, batch.size());
}

SpanExporter::Answer SpanExporter::Export(const otlp::ExportTraceServiceRequest& request) {
  grpc::ClientContext context;
  {
    const std::lock_guard lock(mutex_);  // Finish sets its deadline, then looks here: one of the two sees the other
    context.set_deadline(std::chrono::system_clock::now() + std::min<Duration>(kCallTime, finish_by_.load() - Now()));
    in_flight_ = &context;
  }
  otlp::ExportTraceServiceResponse response;
  Answer answer{.status = stub_->Export(&context, request, &response),
                .num_rejected = response.partial_success().rejected_spans(),
                .message = response.partial_success().error_message()};
  const std::lock_guard lock(mutex_);
  in_flight_ = nullptr;
  return answer;
}

Duration SpanExporter::PauseAfter(const grpc::Status& status, int num_tries) {
  if (!MayBeSentAgain(status) || num_tries >= kMostTries) return {};
  Duration pause = kFirstPause;
  for (int i = 1; i < num_tries && pause < kLongestPause; ++i) pause *= 2;
  pause = std::min<Duration>(pause, kLongestPause);
  // Many daemons that lost one collector do not come back to it at one moment.
  const double part = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  return std::max(std::chrono::duration_cast<Duration>(pause * part), AskedPause(status));
}

void SpanExporter::Count(SpanFate fate, size_t num_spans) {
  metrics_.Update([&](MetricsData& data) { data.spans[static_cast<size_t>(fate)] += num_spans; });
}

// A line where it begins to fail, and one where it works again.
void SpanExporter::Report(const Answer& answer) {
  const bool fails = !answer.status.ok() || answer.num_rejected > 0;
  if (fails == is_failing_) return;
  is_failing_ = fails;
  if (!fails) return spdlog::info("otlp-endpoint: {} takes spans again", endpoint_);
  const std::string found =
      answer.status.ok()
          ? absl::StrFormat("%d rejected: %s", answer.num_rejected, Quoted(answer.message))
          : absl::StrFormat("status %d: %s", answer.status.error_code(), Quoted(answer.status.error_message()));
  spdlog::warn(
      "otlp-endpoint: expected {} to take spans, found {}; latentd_trace_spans_total counts what is lost until it does",
      endpoint_, found);
}

}  // namespace latentd
