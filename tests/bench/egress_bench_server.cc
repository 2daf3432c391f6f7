// The server's side: the daemon's own engine thread, publisher, streams, egress and services on an executor without a
// model, at the pace of a decode loop or as fast as it goes.
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include "base/check.h"
#include "engine/loop/engine_thread.h"
#include "engine/loop/publisher_thread.h"
#include "engine/metrics.h"
#include "engine/step/engine.h"
#include "kernels/tensor.h"
#include "server/call/egress.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/reception.h"
#include "tests/bench/egress_bench.h"
#include "tests/bench/naive_writer.h"
#include "tests/server/api/fake_model.h"
#include "tests/support/fake_executor.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr std::chrono::milliseconds kStep{5};
constexpr int kVocabSize = 1000;
constexpr int kContext = kMaxTokens + 64;
constexpr int kNumBlocks = kMaxStreams * (kContext / kBlockSlots + 1) + 1;
constexpr int kEgressThreads = 2;  // the daemon's default

int64_t Nanoseconds(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

double CostOfReadingCpu() {
  constexpr int kTimes = 10'000;
  const double begin = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kTimes; ++i) CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  return (CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - begin) / kTimes;
}

// The engine reads it at the start and at the end of each step; Launch comes between. Engine thread only.
class StepObserver final : public Clock {
 public:
  StepObserver(const EgressCase& run, const Metrics& metrics, EgressShared& shared)
      : run_(run), metrics_(metrics), shared_(shared), reading_cpu_(CostOfReadingCpu()) {}

  // A step takes its time here, as a forward pass would.
  void OnLaunch(std::span<const SampleRow> samples) {
    while (!all_arrived_) all_arrived_ = NumReceived() >= static_cast<uint64_t>(run_.streams);
    if (run_.pace == Pace::kDecodeLoop) {
      next_step_ = std::max(next_step_ + kStep, std::chrono::steady_clock::now());
      std::this_thread::sleep_until(next_step_);
    }
    launched_.assign(samples.begin(), samples.end());
  }

  TimePoint Now() const override {
    const TimePoint now = std::chrono::steady_clock::now();
    if (!launched_.empty()) {
      Commit(now);
    } else if (step_ended_at_cpu_ > 0.0) {
      const double cpu = CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - step_ended_at_cpu_ - reading_cpu_;
      if (has_begun()) result_.engine_cpu_seconds += cpu;
      step_ended_at_cpu_ = 0.0;
    }
    return now;
  }

  // Any thread, once the engine is idle.
  ServerResult Result() const {
    ServerResult result = result_;
    result.cpu_seconds = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_at_begin_;
    result.seconds = Seconds(std::chrono::steady_clock::now() - begin_);
    return result;
  }

 private:
  bool has_begun() const { return begin_ != kNever; }

  uint64_t NumReceived() const {
    const MetricsData data = metrics_.Snapshot();
    const auto found = data.requests_received.find("Generate");
    return found == data.requests_received.end() ? 0 : found->second;
  }

  void Commit(TimePoint now) const {
    if (!has_begun() && static_cast<int>(launched_.size()) == run_.streams) {
      begin_ = now;
      cpu_at_begin_ = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
    }
    for (const SampleRow& row : launched_) {
      auto& of_stream = shared_.committed_ns[row.rule.seed - 1];
      of_stream[row.position - 1].store(Nanoseconds(now), std::memory_order_relaxed);
    }
    if (has_begun()) result_.tokens += static_cast<int64_t>(launched_.size());
    launched_.clear();
    step_ended_at_cpu_ = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  }

  const EgressCase run_;
  const Metrics& metrics_;
  EgressShared& shared_;
  const double reading_cpu_;

  TimePoint next_step_{};
  bool all_arrived_ = false;
  mutable std::vector<SampleRow> launched_;
  mutable double step_ended_at_cpu_ = 0.0;
  mutable TimePoint begin_ = kNever;
  mutable double cpu_at_begin_ = 0.0;
  mutable ServerResult result_;
};

EngineOptions Options() {
  return {.scheduler = {.cache = {.num_blocks = kNumBlocks},
                        .max_step_tokens = kMaxStreams,
                        .max_step_rows = kMaxStreams,
                        .max_step_logits = kMaxStreams,
                        .max_context_tokens = kContext},
          .step = {.max_step_seconds = 10.0, .first_tokens = kMaxStreams},
          .vocabulary = {}};
}

}  // namespace

void RunEgressServer(const EgressCase& run, EgressPipes pipes, EgressShared& shared) {
  const ServedModel model = FakeModel({.vocab_size = kVocabSize, .context = kContext, .num_blocks = kNumBlocks});
  Metrics metrics;
  StepObserver observer(run, metrics, shared);
  FakeExecutor executor(
      {.num_blocks = kNumBlocks,
       .vocab_size = kVocabSize,
       .on_launch = [&](const BatchInputs&, std::span<const SampleRow> samples) { observer.OnLaunch(samples); }});
  PublisherThread publisher(nullptr, metrics);
  EngineThread engine(std::make_unique<Engine>(executor, Options(), metrics), publisher, observer,
                      QueueLoad{.requests = kMaxStreams, .tokens = int64_t{kMaxStreams} * kContext});
  LiveRequests live(engine, 256 << 10);
  const ModelInService in_service{.model = model, .live = live};
  const SteadyClock clock;
  const LoadProgress progress(metrics, clock);
  ServingGate gate(progress);
  Reception reception(Config{}, metrics);
  Egress egress(kEgressThreads);
  std::unique_ptr<grpc::Service> service;
  if (run.writer == Writer::kNaive) {
    service = std::make_unique<NaiveService>(model, engine, metrics);
  } else {
    gate.Open(in_service);
    service = std::make_unique<GenerationService>(gate, reception.PartsWith(egress));
  }
  ServingState state;
  const std::unique_ptr<GrpcServer> server =
      OrDie(GrpcServer::Start({.listen = "127.0.0.1:0", .state = state, .services = {service.get()}}));
  const int port = server->address().port;
  CHECK_EQ(write(pipes.out, &port, sizeof port), static_cast<ssize_t>(sizeof port));
  char client_is_done = 0;
  CHECK_EQ(read(pipes.in, &client_is_done, 1), 1);
  shared.server = observer.Result();
  server->Shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(1));
  egress.AwaitEmpty(kNever);
}

}  // namespace latentd
