// Runs a load: connects, sends in a closed or an open loop within the bounds, waits for every answer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "tools/client/dialing.h"
#include "tools/load/arrivals.h"
#include "tools/load/half_open.h"
#include "tools/load/lane.h"
#include "tools/load/workload.h"

namespace latentd {

enum class Loop { kClosed, kOpen };

inline constexpr int64_t kMaxInFlight = 20'000;  // of an open loop; past it the client waits, and its lag shows it

struct RunOptions {
  std::string server;
  Dialing dialing = {};
  Loop loop = Loop::kClosed;
  int concurrency = 8;  // closed loop: streams at a time
  Rate rate;  // open loop: requests per second, of a trace where it isn't 0; conversations where there are turns
  Arrival arrival;
  uint64_t max_requests = 0;
  double duration_seconds = 0.0;  // of sending; what was sent is waited for
  double warmup_seconds = 0.0;
  double timeout_seconds = 0.0;  // of a request
  int connections = 1;
  int half_open = 0;  // connections beside those, on which half a request stands
  int client_threads = 1;
  bool keeps_outputs = false;
};

struct RunResult {
  std::vector<RequestRecord> records;  // by index, like the outputs
  std::vector<KeptOutput> outputs;
  LatencyHistogram token_waits;
  std::vector<uint64_t> tokens_by_second;
  std::vector<uint64_t> served_by_tenant;  // prompt and output tokens while requests were sent
  uint64_t tokens_after_warmup = 0;
  uint64_t num_messages = 0;
  double seconds = 0.0;      // to the last answer
  double cpu_seconds = 0.0;  // of this process in that time
  bool was_interrupted = false;
  size_t half_open = 0;
  size_t half_open_closed_by_server = 0;
};

enum class ChannelUse { kLoad, kAdversaries };

class Runner {
 public:
  Runner(const RunOptions& options, const Workload& workload);

  // Every connection stands afterwards: handshakes are not what Run measures.
  absl::Status Connect();
  // Once: its end lets go of the half-open connections.
  RunResult Run();

  // Sends no more and cancels what is in flight; Run then returns soon. Any thread.
  void Stop();
  // Called on a thread of its own about twice a second while Run runs.
  void OnTick(std::function<void(const RunState&)> on_tick) { on_tick_ = std::move(on_tick); }

 private:
  absl::Status ConnectAll(int count, ChannelUse use, std::vector<std::shared_ptr<grpc::Channel>>& channels) const;
  LaneChannels ChannelsOf(size_t lane) const;
  void StartLanes();
  void Send();
  void Pace();
  ArrivalSchedule MakeSchedule() const;
  void Tick();
  // False where the user ended the run meanwhile.
  bool AwaitMoment(int64_t moment);
  bool AwaitRoom();
  RunResult Collect();

  const RunOptions options_;
  const Workload& workload_;
  LaneChannels channels_;
  HalfOpenPeers half_open_;
  std::function<void(const RunState&)> on_tick_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_stopped_ = false;  // guarded by mutex_, like the rest
  bool is_over_ = false;
  std::unique_ptr<RunState> state_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace latentd
