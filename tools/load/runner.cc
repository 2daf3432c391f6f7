#include "tools/load/runner.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <absl/strings/str_format.h>
#include <grpc/grpc.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/resource.h>

#include "tools/client/channel.h"

namespace latentd {
namespace {

constexpr std::chrono::seconds kConnectPatience{10};
constexpr std::chrono::milliseconds kTickPeriod{500};
constexpr std::chrono::milliseconds kRoomPeriod{1};
constexpr int kAdversaryConnections = 2;

std::shared_ptr<grpc::Channel> MakeChannel(const RunOptions& options, ChannelUse use) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // or all channels would share one connection
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);             // every status is to be seen, and buffering costs
  if (use == ChannelUse::kAdversaries) {  // grants the server no more than it must: what is unread soon waits there
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024);
  }
  return OpenChannel(options.server, options.dialing, std::move(arguments));
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <class T>
void MoveBehind(std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

template <class T>
void SortByIndex(std::vector<T>& entries) {
  std::sort(entries.begin(), entries.end(), [](const T& a, const T& b) { return a.index < b.index; });
}

void MergeInto(LaneResult lane, RunResult& run) {
  MoveBehind(lane.records, run.records);
  MoveBehind(lane.outputs, run.outputs);
  run.token_waits.Merge(lane.token_waits);
  run.tokens_by_second.resize(std::max(run.tokens_by_second.size(), lane.tokens_by_second.size()));
  for (size_t i = 0; i < lane.tokens_by_second.size(); ++i) run.tokens_by_second[i] += lane.tokens_by_second[i];
  run.served_by_tenant.resize(std::max(run.served_by_tenant.size(), lane.served_by_tenant.size()));
  for (size_t i = 0; i < lane.served_by_tenant.size(); ++i) run.served_by_tenant[i] += lane.served_by_tenant[i];
  run.tokens_after_warmup += lane.tokens_after_warmup;
  run.num_messages += lane.num_messages;
}

}  // namespace

Runner::Runner(const RunOptions& options, const Workload& workload) : options_(options), workload_(workload) {}

absl::Status Runner::Connect() {
  absl::Status status = ConnectAll(options_.connections, ChannelUse::kLoad, channels_.of_load);
  if (status.ok() && !workload_.options().adversaries.empty()) {
    status = ConnectAll(std::max(options_.client_threads, kAdversaryConnections), ChannelUse::kAdversaries,
                        channels_.of_adversaries);
  }
  if (status.ok() && options_.half_open > 0) status = half_open_.Open(options_.server, options_.half_open);
  return status;
}

absl::Status Runner::ConnectAll(int count, ChannelUse use,
                                std::vector<std::shared_ptr<grpc::Channel>>& channels) const {
  const auto deadline = std::chrono::system_clock::now() + kConnectPatience;
  for (int i = 0; i < count; ++i) {
    channels.push_back(MakeChannel(options_, use));
    if (channels.back()->WaitForConnected(deadline)) continue;
    return absl::UnavailableError(absl::StrFormat("expected %d connections to %s within %d s, found %d", count,
                                                  options_.server, kConnectPatience.count(), i));
  }
  return absl::OkStatus();
}

LaneChannels Runner::ChannelsOf(size_t lane) const {
  const auto num_lanes = static_cast<size_t>(options_.client_threads);
  LaneChannels channels;
  for (size_t i = lane; i < channels_.of_load.size(); i += num_lanes) channels.of_load.push_back(channels_.of_load[i]);
  for (size_t i = lane; i < channels_.of_adversaries.size(); i += num_lanes) {
    channels.of_adversaries.push_back(channels_.of_adversaries[i]);
  }
  return channels;
}

RunResult Runner::Run() {
  const double cpu_before = CpuSeconds();
  StartLanes();
  std::thread ticker([this] { Tick(); });
  Send();
  RunResult result = Collect();
  result.seconds = static_cast<double>(state_->Now()) * 1e-9;
  result.cpu_seconds = CpuSeconds() - cpu_before;
  result.half_open = half_open_.num_open();
  result.half_open_closed_by_server = half_open_.NumClosedByServer();
  half_open_.Close();
  {
    std::lock_guard lock(mutex_);
    is_over_ = true;
    result.was_interrupted = has_stopped_;
    lanes_.clear();
  }
  changed_.notify_all();
  ticker.join();
  return result;
}

void Runner::StartLanes() {
  std::lock_guard lock(mutex_);
  state_ = std::make_unique<RunState>(RunBounds{.max_requests = options_.max_requests,
                                                .duration_seconds = options_.duration_seconds,
                                                .requests_at_once = workload_.options().turns});
  if (has_stopped_) state_->Stop();
  const LaneOptions lane_options{.warmup_seconds = options_.warmup_seconds,
                                 .timeout_seconds = options_.timeout_seconds,
                                 .is_closed_loop = options_.loop == Loop::kClosed,
                                 .keeps_outputs = options_.keeps_outputs};
  const auto num_lanes = static_cast<size_t>(options_.client_threads);
  for (size_t lane = 0; lane < num_lanes; ++lane) {
    lanes_.push_back(std::make_unique<Lane>(*state_, workload_, lane_options, ChannelsOf(lane)));
  }
}

void Runner::Send() {
  if (options_.loop == Loop::kOpen) return Pace();
  const std::vector<TenantShare>& tenants = workload_.options().tenants;
  for (int stream = 0; stream < options_.concurrency; ++stream) {
    const double place = (stream + 0.5) / options_.concurrency;
    lanes_[static_cast<size_t>(stream) % lanes_.size()]->StartStream(PickShare(tenants, place));
  }
}

ArrivalSchedule Runner::MakeSchedule() const {
  if (workload_.is_trace()) return {workload_.RecordedSeconds(), options_.rate.mean()};
  return {options_.arrival, options_.rate, options_.duration_seconds, workload_.options().seed};
}

void Runner::Pace() {
  ArrivalSchedule schedule = MakeSchedule();
  for (;;) {
    const int64_t intended = schedule.Next();
    if (!AwaitMoment(intended) || !AwaitRoom()) break;
    const std::optional<uint64_t> index = state_->TakeIndex(intended);
    if (!index) break;
    lanes_[*index % lanes_.size()]->Start({.index = *index}, intended);
  }
  state_->EndSending();
}

bool Runner::AwaitMoment(int64_t moment) {
  const auto duration = static_cast<int64_t>(options_.duration_seconds * 1e9);
  if (moment >= duration) return false;
  // Behind schedule there is nothing to wait for, and a lock per request would only add to the lag.
  if (state_->Now() >= moment) return !state_->is_stopping();
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, state_->MomentOf(moment), [this] { return has_stopped_; });
}

bool Runner::AwaitRoom() {
  while (state_->counters.in_flight.load(std::memory_order_relaxed) >= kMaxInFlight) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kRoomPeriod, [this] { return has_stopped_; })) return false;
  }
  return true;
}

void Runner::Tick() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTickPeriod, [this] { return is_over_; })) {
    if (!on_tick_) continue;
    lock.unlock();
    on_tick_(*state_);
    lock.lock();
  }
}

RunResult Runner::Collect() {
  RunResult result;
  for (std::unique_ptr<Lane>& lane : lanes_) MergeInto(lane->Finish(), result);
  SortByIndex(result.records);
  SortByIndex(result.outputs);
  return result;
}

void Runner::Stop() {
  std::lock_guard lock(mutex_);
  has_stopped_ = true;
  if (state_) state_->Stop();
  for (std::unique_ptr<Lane>& lane : lanes_) lane->Interrupt();
  changed_.notify_all();
}

}  // namespace latentd
