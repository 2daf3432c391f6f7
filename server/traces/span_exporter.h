// Sends spans to a collector by OTLP over gRPC, a batch after the other, on a thread of its own. A collector that is
// away is tried again, ever more rarely, while the queue fills; calls never wait for it. Owned by the Daemon.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/client_context.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"
#include "server/config/otlp_endpoint.h"
#include "server/traces/otlp.h"
#include "server/traces/span_queue.h"

namespace latentd {

class SpanExporter {
 public:
  // `queue` and `metrics` must outlive it.
  SpanExporter(const OtlpEndpoint& endpoint, const std::string& model, SpanQueue& queue, Metrics& metrics);
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;
  ~SpanExporter() { Finish(TimePoint()); }

  // Sends what is queued, until `deadline` at the latest; the rest is given up. No more spans after it.
  void Finish(TimePoint deadline);

 private:
  struct Answer {
    grpc::Status status;
    int64_t num_rejected = 0;
    std::string message = {};  // of the collector, about those
  };

  void Run();
  void Send(const std::vector<RequestSpan>& batch);
  Answer Export(const otlp::ExportTraceServiceRequest& request);
  // How long to wait before a batch that got this answer is sent again; zero: it is given up.
  Duration PauseAfter(const grpc::Status& status, int num_tries);
  void Count(SpanFate fate, size_t num_spans);
  void Report(const Answer& answer);

  const std::string endpoint_;
  const TraceResource resource_;
  SpanQueue& queue_;
  Metrics& metrics_;
  const std::unique_ptr<otlp::TraceService::Stub> stub_;
  std::mt19937_64 random_;   // of the thread
  bool is_failing_ = false;  // of the thread: it has been logged
  std::atomic<TimePoint> finish_by_{kNever};

  std::mutex mutex_;  // guards the next three
  std::condition_variable over_;
  bool is_over_ = false;
  grpc::ClientContext* in_flight_ = nullptr;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace latentd
