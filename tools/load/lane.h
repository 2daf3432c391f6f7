// One thread of the client with its completion queue and its share of the connections. All events of its calls are
// handled there, so the statistics need no lock; only the set of live calls has one, taken once per call.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/completion_queue.h>

#include "tools/load/call.h"
#include "tools/load/histogram.h"
#include "tools/load/run_state.h"

namespace latentd {

struct LaneOptions {
  double warmup_seconds = 0.0;
  double timeout_seconds = 0.0;
  bool is_closed_loop = false;  // a call that ends starts the next one
  bool keeps_outputs = false;
};

struct LaneResult {
  std::vector<RequestRecord> records;
  std::vector<KeptOutput> outputs;
  LatencyHistogram token_waits;            // of requests after the warm-up
  std::vector<uint64_t> tokens_by_second;  // when they came
  std::vector<uint64_t> served_by_tenant;  // prompt and output tokens while requests were sent
  uint64_t tokens_after_warmup = 0;
  uint64_t num_messages = 0;
};

struct LaneChannels {
  std::vector<std::shared_ptr<grpc::Channel>> of_load;
  std::vector<std::shared_ptr<grpc::Channel>> of_adversaries;  // empty where the workload has none
};

class Lane {
 public:
  Lane(RunState& state, const Workload& workload, const LaneOptions& options, LaneChannels channels);
  ~Lane();

  // One thread beside the lane's own. The tenant is the one that the workload draws, or that of a closed loop's stream.
  void Start(const Turn& turn, int64_t intended, std::optional<size_t> tenant = std::nullopt);
  // A closed loop's stream: starts a request, and another one whenever it ends. Nothing where the bounds are reached.
  void StartStream(size_t tenant);
  // Ends what is in flight. Any thread.
  void Interrupt();
  // Nothing more will be started from outside; waits for all calls.
  LaneResult Finish();

 private:
  void Run();
  void OnRead(const Call& call, int64_t now);
  void OnEnded(Call& call);
  void CountServed(const Call& call, uint64_t tokens, int64_t now);
  void StartNext(const Call& call);
  void RecordWaits(const Call& call, const RequestRecord& record);
  void LetGo();

  RunState& state_;
  const Workload& workload_;
  const LaneOptions options_;
  const int64_t warmup_end_;
  std::vector<std::unique_ptr<v1::Generation::Stub>> stubs_;
  std::vector<std::unique_ptr<v1::Generation::Stub>> adversary_stubs_;
  grpc::CompletionQueue queue_;

  std::mutex mutex_;
  std::unordered_map<Call*, std::unique_ptr<Call>> live_;  // guarded by mutex_, like the next
  size_t next_stub_ = 0;
  // Calls in flight, and one for the outside until Finish; at 0 the queue is shut down.
  std::atomic<int64_t> num_holds_{1};
  std::atomic<int64_t> num_kept_tokens_{0};

  LaneResult result_;  // the lane's thread's
  std::thread thread_;
};

}  // namespace latentd
