// The client's side: reads all streams through gRPC's callback API and notes how long each token was under way.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include "base/check.h"
#include "latentd/v1/generation.grpc.pb.h"
#include "tests/bench/egress_bench.h"

namespace latentd {
namespace {

int64_t NowNanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

class Countdown {
 public:
  explicit Countdown(int count) : left_(count) {}
  void Arrive() {
    std::lock_guard lock(mutex_);
    if (--left_ == 0) reached_.notify_one();
  }
  void Await() {
    std::unique_lock lock(mutex_);
    reached_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable reached_;
  int left_;
};

class StreamReading final : public grpc::ClientReadReactor<v1::GenerateEvent> {
 public:
  StreamReading(int stream, EgressShared& shared, Countdown& running)
      : committed_ns_(shared.committed_ns[static_cast<size_t>(stream)]), running_(running) {
    request_.mutable_token_ids()->add_ids(kBenchPrompt);
    request_.mutable_sampling()->set_seed(SeedOf(stream));
    request_.mutable_output()->set_token_ids(true);
  }

  void Start(v1::Generation::Stub& stub, int num_tokens) {
    request_.mutable_stopping()->set_max_tokens(static_cast<uint32_t>(num_tokens));
    delays_ns.reserve(static_cast<size_t>(num_tokens));
    stub.async()->Generate(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (event_.has_delta()) Note(static_cast<size_t>(event_.delta().tokens_so_far()));
    ++num_messages;
    StartRead(&event_);
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) std::fprintf(stderr, "egress_bench: %s\n", status.error_message().c_str());
    CHECK(status.ok());
    running_.Arrive();
  }

  std::vector<int64_t> delays_ns;
  int64_t num_messages = 0;

 private:
  void Note(size_t tokens_so_far) {
    const int64_t now = NowNanoseconds();
    while (delays_ns.size() < tokens_so_far) {
      delays_ns.push_back(now - committed_ns_[delays_ns.size()].load(std::memory_order_relaxed));
    }
  }

  const std::array<std::atomic<int64_t>, kMaxTokens>& committed_ns_;
  Countdown& running_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateEvent event_;
};

double PercentileSeconds(std::vector<int64_t>& sorted, double fraction) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return 1e-9 * static_cast<double>(sorted[static_cast<size_t>(fraction * last)]);
}

}  // namespace

void RunEgressClient(const EgressCase& run, EgressPipes pipes, EgressShared& shared) {
  int port = 0;
  CHECK_EQ(read(pipes.in, &port, sizeof port), static_cast<ssize_t>(sizeof port));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own for each channel
  std::vector<std::unique_ptr<v1::Generation::Stub>> stubs;
  for (int i = 0; i < run.connections; ++i) {
    stubs.push_back(v1::Generation::NewStub(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments)));
  }
  Countdown running(run.streams);
  std::vector<std::unique_ptr<StreamReading>> streams;
  for (int i = 0; i < run.streams; ++i) {
    streams.push_back(std::make_unique<StreamReading>(i, shared, running));
    streams.back()->Start(*stubs[static_cast<size_t>(i % run.connections)], run.tokens);
  }
  running.Await();
  CHECK_EQ(write(pipes.out, "x", 1), 1);

  ClientResult& result = shared.client;
  std::vector<int64_t> delays;
  for (const auto& stream : streams) {
    result.messages += stream->num_messages;
    delays.insert(delays.end(), stream->delays_ns.begin(), stream->delays_ns.end());
  }
  std::sort(delays.begin(), delays.end());
  result.tokens = static_cast<int64_t>(delays.size());
  result.p50_seconds = PercentileSeconds(delays, 0.5);
  result.p99_seconds = PercentileSeconds(delays, 0.99);
  result.cpu_seconds = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace latentd
