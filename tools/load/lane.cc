#include "tools/load/lane.h"

#include <utility>

namespace latentd {
namespace {

// Outputs kept for the comparison with a quiet run, in tokens per lane: some 100 MB. What comes later is not compared.
constexpr int64_t kMaxKeptTokens = 8'000'000;

// Whom adversaries count for where tenants are named.
constexpr char kAdversaryTenant[] = "adversary";

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

}  // namespace

Lane::Lane(RunState& state, const Workload& workload, const LaneOptions& options, LaneChannels channels)
    : state_(state),
      workload_(workload),
      options_(options),
      warmup_end_(static_cast<int64_t>(options.warmup_seconds * 1e9)) {
  for (auto& channel : channels.of_load) stubs_.push_back(v1::Generation::NewStub(std::move(channel)));
  for (auto& channel : channels.of_adversaries) {
    adversary_stubs_.push_back(v1::Generation::NewStub(std::move(channel)));
  }
  thread_ = std::thread([this] { Run(); });
}

Lane::~Lane() {
  if (thread_.joinable()) Finish();
}

void Lane::Start(const Turn& turn, int64_t intended, std::optional<size_t> tenant) {
  const bool keeps = options_.keeps_outputs && num_kept_tokens_ < kMaxKeptTokens;
  PlannedRequest request = workload_.Plan(turn);
  if (tenant) request.tenant = *tenant;
  const bool is_well = request.behaviour == Behaviour::kWell;
  const std::vector<TenantShare>& tenants = workload_.options().tenants;
  const std::string name = tenants.empty() ? "" : is_well ? tenants[request.tenant].name : kAdversaryTenant;
  const Keep keep = keeps ? Keep::kOutput : workload_.options().turns > 1 ? Keep::kAnswer : Keep::kNothing;
  auto owned = std::make_unique<Call>(std::move(request), intended, keep);
  Call* const call = owned.get();
  ++num_holds_;
  state_.counters.in_flight.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  live_.emplace(call, std::move(owned));
  const auto& stubs = is_well ? stubs_ : adversary_stubs_;
  call->Start(*stubs[next_stub_++ % stubs.size()], queue_,
              {.timeout_seconds = options_.timeout_seconds, .tenant = name, .sent = state_.Now()});
  if (state_.is_stopping()) call->Interrupt();  // Interrupt() may have come before this call was in the set
}

void Lane::StartStream(size_t tenant) {
  const int64_t now = state_.Now();
  if (const std::optional<uint64_t> index = state_.TakeIndex(now)) Start({.index = *index}, now, tenant);
}

void Lane::StartNext(const Call& call) {
  const int64_t now = state_.Now();
  const PlannedRequest& request = call.request();
  if (call.record().succeeded() && state_.MayFollow(request.index + 1, now)) {
    if (const auto next = workload_.Next(request, call.answer())) return Start(*next, now, request.tenant);
  }
  if (options_.is_closed_loop) StartStream(request.tenant);
}

void Lane::Interrupt() {
  std::lock_guard lock(mutex_);
  for (auto& [call, owned] : live_) call->Interrupt();
}

LaneResult Lane::Finish() {
  LetGo();
  thread_.join();
  return std::move(result_);
}

void Lane::LetGo() {
  if (--num_holds_ == 0) queue_.Shutdown();
}

void Lane::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    Call& call = *static_cast<Call*>(tag);
    const int64_t now = state_.Now();
    const Call::Progress progress = call.Advance(ok, now);
    if (progress == Call::Progress::kReadEvent) OnRead(call, now);
    if (progress == Call::Progress::kEnded) OnEnded(call);
  }
}

void Lane::OnRead(const Call& call, int64_t now) {
  ++result_.num_messages;
  const uint64_t tokens = call.new_tokens();
  CountServed(call, tokens, now);
  if (tokens == 0) return;
  const auto second = static_cast<size_t>(now / kNanosecondsPerSecond);
  if (result_.tokens_by_second.size() <= second) result_.tokens_by_second.resize(second + 1);
  result_.tokens_by_second[second] += tokens;
  if (now >= warmup_end_) result_.tokens_after_warmup += tokens;
  state_.counters.output_tokens.fetch_add(tokens, std::memory_order_relaxed);
}

// A prompt has been served when its first token comes.
void Lane::CountServed(const Call& call, uint64_t tokens, int64_t now) {
  if (tokens == 0 || call.request().behaviour != Behaviour::kWell || !state_.IsSending(now)) return;
  const size_t tenant = call.request().tenant;
  if (result_.served_by_tenant.size() <= tenant) result_.served_by_tenant.resize(tenant + 1);
  result_.served_by_tenant[tenant] += tokens + (call.is_first_token() ? call.record().prompt_tokens : 0);
}

void Lane::OnEnded(Call& call) {
  StartNext(call);
  RequestRecord& record = call.record();
  if (options_.keeps_outputs) {
    num_kept_tokens_ += record.output_tokens + static_cast<int64_t>(call.request().history.size());
    result_.outputs.push_back(call.TakeOutput());
  }
  RecordWaits(call, record);
  RunCounters& counters = state_.counters;
  counters.in_flight.fetch_sub(1, std::memory_order_relaxed);
  counters.finished.fetch_add(1, std::memory_order_relaxed);
  if (!EndedAsExpected(record)) counters.failed.fetch_add(1, std::memory_order_relaxed);
  result_.records.push_back(std::move(record));
  {
    std::lock_guard lock(mutex_);
    live_.erase(&call);
  }
  LetGo();
}

void Lane::RecordWaits(const Call& call, const RequestRecord& record) {
  if (record.intended < warmup_end_ || !ReadsPromptly(record.behaviour)) return;
  call.RecordWaits(result_.token_waits);
}

}  // namespace latentd
