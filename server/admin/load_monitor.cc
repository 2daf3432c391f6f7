#include "server/admin/load_monitor.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "server/api/proto_time.h"

namespace latentd {
namespace {

constexpr std::chrono::seconds kBetweenSamples{1};

// A latency of all requests that ended, whatever their outcome.
std::vector<uint64_t> CountsOf(const MetricsData& data, Histogram OutcomeTotals::*latency) {
  std::vector<uint64_t> counts;
  for (const auto& [reason, totals] : data.outcomes) {
    const std::span<const uint64_t> of_outcome = (totals.*latency).counts();
    counts.resize(of_outcome.size());
    for (size_t i = 0; i < of_outcome.size(); ++i) counts[i] += of_outcome[i];
  }
  return counts;
}

LoadSample SampleOf(const MetricsData& data) {
  return {.time = std::chrono::steady_clock::now(),
          .generated_tokens = data.generated_tokens_delivered,
          .prompt_tokens = data.prompt_tokens_computed,
          .prefix_queried_tokens = data.prefix_queried_tokens,
          .prefix_hit_tokens = data.prefix_hit_tokens,
          .preemptions = data.preemptions,
          .waits = data.queue_waits,
          .first_token_counts = CountsOf(data, &OutcomeTotals::time_to_first_token_seconds),
          .inter_token_counts = CountsOf(data, &OutcomeTotals::inter_token_latency_seconds)};
}

struct HistogramStates {
  std::span<const uint64_t> before, now;
  std::span<const double> upper_bounds;
};

void SetLatency(const HistogramStates& states, v1::RecentLatency* latency) {
  const auto quantile = [&states](double q) {
    return QuantileBetween(states.before, states.now, states.upper_bounds, q);
  };
  if (const std::optional<double> median = quantile(0.5)) latency->set_p50_seconds(*median);
  if (const std::optional<double> tail = quantile(0.99)) latency->set_p99_seconds(*tail);
}

uint32_t InPhase(const MetricsData& data, Phase phase) {
  return static_cast<uint32_t>(std::max<int64_t>(0, data.requests_in_flight.in(phase)));
}

// How much one of several counts grew.
template <class Counts, class Enum>
uint64_t GrowthOf(Enum which, const Counts& before, const Counts& now) {
  return now[static_cast<size_t>(which)] - before[static_cast<size_t>(which)];
}

void SetRecentChoices(const LoadSample& start, const LoadSample& now, v1::Load* load) {
  const uint64_t queried = now.prefix_queried_tokens - start.prefix_queried_tokens;
  const uint64_t hit = now.prefix_hit_tokens - start.prefix_hit_tokens;
  if (queried > 0) load->set_prefix_hit_rate(static_cast<double>(hit) / static_cast<double>(queried));
  const auto preempted = [&](PreemptionReason reason) { return GrowthOf(reason, start.preemptions, now.preemptions); };
  load->mutable_preemptions()->set_blocks(preempted(PreemptionReason::kBlocks));
  load->mutable_preemptions()->set_priority(preempted(PreemptionReason::kPriority));
  const auto waited = [&](WaitReason reason) { return GrowthOf(reason, start.waits, now.waits); };
  load->mutable_waits()->set_rows(waited(WaitReason::kRows));
  load->mutable_waits()->set_tokens(waited(WaitReason::kTokens));
  load->mutable_waits()->set_blocks(waited(WaitReason::kBlocks));
  load->mutable_waits()->set_logits(waited(WaitReason::kLogits));
}

void SetWaiting(const PriorityCounts& queued, v1::Load* load) {
  for (size_t i = 0; i < queued.size(); ++i) {
    if (queued[i] <= 0) continue;
    v1::WaitingRequests* waiting = load->add_waiting();
    waiting->set_priority(kLowestPriority + static_cast<int>(i));
    waiting->set_requests(static_cast<uint32_t>(queued[i]));
  }
}

void SetTenants(const std::vector<TenantTotals>& tenants, v1::Load* load) {
  int num_active = 0;
  for (const TenantTotals& tenant : tenants) {
    v1::TenantLoad* entry = load->add_tenants();
    entry->set_name(tenant.name);
    entry->set_weight(tenant.weight);
    entry->set_is_active(tenant.is_active);
    entry->set_service_tokens(tenant.service_tokens);
    entry->set_recent_service(tenant.recent_service);
    if (tenant.is_active) ++num_active;
  }
  if (num_active > 1) load->set_fairness_index(FairnessIndex(tenants));
}

void SetRecent(const LoadSample& start, const MetricsData& data, v1::Load* load) {
  const LoadSample now = SampleOf(data);
  const double seconds = Seconds(now.time - start.time);
  if (seconds > 0.0) {
    load->set_generated_tokens_per_second(static_cast<double>(now.generated_tokens - start.generated_tokens) / seconds);
    load->set_prompt_tokens_per_second(static_cast<double>(now.prompt_tokens - start.prompt_tokens) / seconds);
  }
  SetRecentChoices(start, now, load);
  SetLatency({start.first_token_counts, now.first_token_counts, kRequestSeconds}, load->mutable_time_to_first_token());
  SetLatency({start.inter_token_counts, now.inter_token_counts, kTokenSeconds}, load->mutable_inter_token_latency());
}

void SetLoading(const BytesRead& bytes, v1::ModelLoading* loading) {
  loading->set_loaded_bytes(bytes.read);
  loading->set_total_bytes(bytes.total);
  loading->set_seconds_left(SecondsLeft(bytes));
}

}  // namespace

LoadMonitor::LoadMonitor(const Metrics& metrics, const ServingGate& gate) : metrics_(metrics), gate_(gate) {
  window_.Add(SampleOf(metrics_.Snapshot()));
  thread_ = std::thread([this] { Run(); });
}

LoadMonitor::~LoadMonitor() {
  {
    std::lock_guard lock(mutex_);
    is_closed_ = true;
    closing_.notify_one();
  }
  thread_.join();
}

void LoadMonitor::Run() {
  std::unique_lock lock(mutex_);
  while (!closing_.wait_for(lock, kBetweenSamples, [this] { return is_closed_; })) {
    window_.Add(SampleOf(metrics_.Snapshot()));
  }
}

v1::Load LoadMonitor::Read() const {
  v1::Load load;
  *load.mutable_time() = ToProto(std::chrono::system_clock::now());
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) SetLoading(gate_.progress(), load.mutable_loading());
  const QueueLoad queue = serving == nullptr ? QueueLoad{} : serving->live.engine().waiting();
  const MetricsData data = metrics_.Snapshot();
  load.set_requests_queued(static_cast<uint32_t>(queue.requests));
  load.set_tokens_queued(static_cast<uint64_t>(queue.tokens));
  load.set_requests_prefill(InPhase(data, Phase::kPrefill));
  load.set_requests_decode(InPhase(data, Phase::kDecode));
  // The metrics' phases also hold RPCs that never see the engine; what is being answered and is in no other phase is
  // being written.
  const uint64_t in_engine = uint64_t{load.requests_queued()} + load.requests_prefill() + load.requests_decode();
  const uint64_t in_flight = serving == nullptr ? 0 : serving->live.size();
  load.set_requests_output(static_cast<uint32_t>(in_flight > in_engine ? in_flight - in_engine : 0));
  load.set_kv_blocks_total(static_cast<uint64_t>(data.kv_blocks_total));
  load.set_kv_blocks_active(static_cast<uint64_t>(data.kv_blocks_active));
  load.set_kv_blocks_cached(static_cast<uint64_t>(data.kv_blocks_cached));
  load.set_kv_blocks_free(static_cast<uint64_t>(data.kv_blocks_free));
  SetWaiting(data.queued_by_priority, &load);
  SetTenants(data.tenants, &load);
  load.set_request_bytes(static_cast<uint64_t>(data.request_bytes));
  load.set_answer_bytes(static_cast<uint64_t>(data.answer_bytes));
  std::lock_guard lock(mutex_);
  SetRecent(window_.Start(std::chrono::steady_clock::now()), data, &load);
  return load;
}

}  // namespace latentd
