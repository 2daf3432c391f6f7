// The series that pickers of Kubernetes and dashboards know from vLLM, under --metrics-compat=vllm: what is in the
// other rows, added up as vLLM counts it.
#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/cache_block.h"
#include "server/api/methods.h"
#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

constexpr auto kCounter = MetricKind::kCounter;
constexpr auto kGauge = MetricKind::kGauge;
constexpr auto kHistogram = MetricKind::kHistogram;

using Labels = std::vector<std::pair<std::string, std::string>>;

Labels OfModel(const Scrape& scrape) { return {{"model_name", std::string(scrape.served_name)}}; }

// One series, of the model.
template <class Get>
MetricSource Model(Get get) {
  return {.labels = {{"model_name", {}}}, .read = [get](const Scrape& scrape) {
            return std::vector<Series>{MakeSeries(OfModel(scrape), Read(get, scrape))};
          }};
}

bool IsGenerated(const CauseRow& row) { return row.is_success() && (row.occurs.methods & kGenerates) != 0; }
bool HasRun(const CauseRow& row) { return row.has_run_series(); }

// A latency of the requests with such outcomes, together.
MetricSource Merged(Histogram OutcomeTotals::*latency, bool (*counts)(const CauseRow& row)) {
  return {.labels = {{"model_name", {}}}, .read = [latency, counts](const Scrape& scrape) {
            auto all = std::make_shared<Histogram>(OutcomeTotals().*latency);
            for (const CauseRow& row : kCauses) {
              const auto found = scrape.data.outcomes.find(std::string(row.reason));
              if (counts(row) && found != scrape.data.outcomes.end()) all->Add(found->second.*latency);
            }
            return std::vector<Series>{{.labels = OfModel(scrape), .histogram = all.get(), .owned = all}};
          }};
}

int64_t InPhases(const Scrape& scrape, Phase first, Phase second) {
  const RequestPhases& phases = scrape.data.requests_in_flight;
  return std::max<int64_t>(0, phases.in(first) + (first == second ? 0 : phases.in(second)));
}

// Without the scratch block.
int64_t UsableBlocks(const Scrape& scrape) {
  return static_cast<int64_t>(scrape.facts.model.limits().kv_tokens() / kBlockSlots);
}

double CacheUsage(const Scrape& scrape) {
  const int64_t blocks = UsableBlocks(scrape);
  return blocks == 0 ? 0.0 : static_cast<double>(scrape.data.kv_blocks_active) / static_cast<double>(blocks);
}

void AddGauges(MetricRows& rows) {
  AddRow({kGauge, "vllm:num_requests_waiting", "requests"}, "Requests without a first step yet",
         Model([](const Scrape& scrape) { return InPhases(scrape, Phase::kQueued, Phase::kQueued); }), rows);
  AddRow({kGauge, "vllm:num_requests_running", "requests"}, "Requests in prefill or decode",
         Model([](const Scrape& scrape) { return InPhases(scrape, Phase::kPrefill, Phase::kDecode); }), rows);
  AddRow({kGauge, "vllm:kv_cache_usage_perc", "0 to 1"}, "Part of the cache's blocks that live requests hold",
         Model(CacheUsage), rows);
  AddRow({kGauge, "vllm:cache_config_info", "1"}, "The cache's shape",
         {.labels = {{"block_size", {}}, {"num_gpu_blocks", {}}},
          .read =
              [](const Scrape& scrape) {
                Labels labels = {{"block_size", std::to_string(kBlockSlots)},
                                 {"num_gpu_blocks", std::to_string(UsableBlocks(scrape))}};
                return std::vector<Series>{MakeSeries(std::move(labels), 1)};
              }},
         rows);
}

void AddLatencies(MetricRows& rows) {
  AddRow({kHistogram, "vllm:e2e_request_latency_seconds", "seconds"},
         "From arrival to the end of an answer that has one", Merged(&OutcomeTotals::request_seconds, IsGenerated),
         rows);
  AddRow({kHistogram, "vllm:time_to_first_token_seconds", "seconds"}, "From arrival to the first token",
         Merged(&OutcomeTotals::time_to_first_token_seconds, HasRun), rows);
  AddRow({kHistogram, "vllm:inter_token_latency_seconds", "seconds"}, "Between two tokens of one answer",
         Merged(&OutcomeTotals::inter_token_latency_seconds, HasRun), rows);
  AddRow({kHistogram, "vllm:request_time_per_output_token_seconds", "seconds"},
         "Mean time between the tokens of an answer", Merged(&OutcomeTotals::time_per_output_token_seconds, HasRun),
         rows);
  AddRow({kHistogram, "vllm:request_queue_time_seconds", "seconds"}, "From arrival to the first step",
         Merged(&OutcomeTotals::queue_seconds, HasRun), rows);
  AddRow({kHistogram, "vllm:request_prefill_time_seconds", "seconds"}, "From the first step to the first token",
         Merged(&OutcomeTotals::prefill_seconds, HasRun), rows);
  AddRow({kHistogram, "vllm:request_decode_time_seconds", "seconds"}, "From the first token to the end",
         Merged(&OutcomeTotals::decode_seconds, HasRun), rows);
}

// RPCs that ran the model and ended for one of these.
uint64_t Finished(const MetricsData& data, std::initializer_list<Cause> causes) {
  uint64_t total = 0;
  for (const auto& [outcome, count] : data.requests_finished) {
    const auto has_reason = [&outcome = outcome](Cause cause) { return RowOf(cause).reason == outcome.reason; };
    if (RunsTheModel(outcome.method) && std::any_of(causes.begin(), causes.end(), has_reason)) total += count;
  }
  return total;
}

MetricSource Successes() {
  static const std::vector<std::string> names = {"stop", "length", "abort"};
  return {.labels = {{"model_name", {}}, {"finished_reason", names}}, .read = [](const Scrape& scrape) {
            const std::array counts = {Finished(scrape.data, {Cause::kEos, Cause::kStopString, Cause::kStopToken}),
                                       Finished(scrape.data, {Cause::kMaxTokens, Cause::kContextLimit}),
                                       Finished(scrape.data, {Cause::kClientCancel, Cause::kAdminAbort})};
            std::vector<Series> all;
            for (size_t i = 0; i < counts.size(); ++i) {
              Labels labels = OfModel(scrape);
              labels.emplace_back("finished_reason", names[i]);
              all.push_back(MakeSeries(std::move(labels), counts[i]));
            }
            return all;
          }};
}

void AddRequests(MetricRows& rows) {
  AddRow({kHistogram, "vllm:request_prompt_tokens", "tokens"}, "Prompt tokens of requests that ended",
         Model(&MetricsData::prompt_length_tokens), rows);
  AddRow({kHistogram, "vllm:request_generation_tokens", "tokens"}, "Tokens of all answers of requests that ended",
         Model(&MetricsData::generation_length_tokens), rows);
  AddRow({kCounter, "vllm:request_success_total", "requests"},
         "Requests that ended: by themselves or what they asked to stop at, at a limit of length, cancelled",
         Successes(), rows);
}

void AddTokens(MetricRows& rows) {
  AddRow(
      {kCounter, "vllm:prompt_tokens_total", "tokens"}, "Prompt tokens computed or found in the prefix cache",
      Model([](const Scrape& scrape) { return scrape.data.prompt_tokens_computed + scrape.data.prompt_tokens_cached; }),
      rows);
  AddRow({kCounter, "vllm:generation_tokens_total", "tokens"}, "Tokens generated", Model([](const Scrape& scrape) {
           return scrape.data.generated_tokens_delivered + scrape.data.generated_tokens_discarded;
         }),
         rows);
  AddRow({kCounter, "vllm:num_preemptions_total", "preemptions"}, "Sequences that lost their blocks to others",
         Model([](const Scrape& scrape) {
           uint64_t total = 0;
           for (const uint64_t count : scrape.data.preemptions) total += count;
           return total;
         }),
         rows);
  AddRow({kCounter, "vllm:prefix_cache_queries_total", "tokens"}, "Prompt tokens looked for in the prefix cache",
         Model(&MetricsData::prefix_queried_tokens), rows);
  AddRow({kCounter, "vllm:prefix_cache_hits_total", "tokens"}, "Of these, found",
         Model(&MetricsData::prefix_hit_tokens), rows);
}

}  // namespace

void AddVllmRows(MetricRows& rows) {
  AddGauges(rows);
  AddLatencies(rows);
  AddRequests(rows);
  AddTokens(rows);
}

}  // namespace latentd
