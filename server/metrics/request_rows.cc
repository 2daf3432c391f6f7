// Metrics of requests: how many, how long, how many tokens.
#include <array>
#include <map>

#include "server/api/outcomes.h"
#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

constexpr auto kCounter = MetricKind::kCounter;
constexpr auto kGauge = MetricKind::kGauge;
constexpr auto kHistogram = MetricKind::kHistogram;

// All methods, whether a request came or not.
MetricSource Received() {
  return {.labels = {{"method", AllMethods()}}, .read = [](const Scrape& scrape) {
            std::map<std::string, uint64_t> counts = scrape.data.requests_received;
            for (const std::string& method : AllMethods()) counts.try_emplace(method, 0);
            std::vector<Series> all;
            for (const auto& [method, count] : counts) all.push_back(MakeSeries({{"method", method}}, count));
            return all;
          }};
}

MetricSource Finished() {
  return {.labels = {{"method", AllMethods()}, {"grpc_code", AllCodes()}, {"reason", AllReasons()}},
          .read = [](const Scrape& scrape) {
            std::map<Outcome, uint64_t> counts = scrape.data.requests_finished;
            for (const Outcome& outcome : AllOutcomes()) counts.try_emplace(outcome, 0);
            std::vector<Series> all;
            for (const auto& [outcome, count] : counts) {
              all.push_back(MakeSeries(
                  {{"method", outcome.method}, {"grpc_code", outcome.grpc_code}, {"reason", outcome.reason}}, count));
            }
            return all;
          }};
}

uint64_t RejectedFor(const MetricsData& data, const std::string& reason) {
  const auto found = data.admission_rejected.find(reason);
  return found == data.admission_rejected.end() ? 0 : found->second;
}

const OutcomeTotals& TotalsOf(const MetricsData& data, const std::string& reason) {
  static const OutcomeTotals none;
  const auto found = data.outcomes.find(reason);
  return found == data.outcomes.end() ? none : found->second;
}

void AddFlow(MetricRows& rows) {
  AddRow({kCounter, "latentd_requests_received_total", "RPCs"}, "RPCs that arrived", Received(), rows);
  AddRow({kCounter, "latentd_requests_finished_total", "RPCs"},
         "RPCs that ended, each once; there is a series for each combination that can occur", Finished(), rows);
  AddRow({kGauge, "latentd_requests_in_flight", "RPCs"},
         "RPCs received and not finished; those that do not run the model are in phase output throughout",
         By("phase", kPhaseNames, [](const Scrape& scrape) { return scrape.data.requests_in_flight.counts(); }), rows);
  AddRow({kCounter, "latentd_queue_wait_reason_total", "sequences x steps"},
         "Waiting sequences left out of a step, by what the first of them lacked",
         By("reason", kWaitReasonNames, &MetricsData::queue_waits), rows);
  AddRow({kGauge, "latentd_requests_waiting", "sequences"},
         "Sequences that wait for their first step or, preempted, for another one, by their priority",
         ByNames<kNumPriorities>("priority", PriorityNames(), &MetricsData::queued_by_priority), rows);
  AddRow({kCounter, "latentd_admission_rejected_total", "RPCs"},
         "RPCs refused before they ran, for the state or the limits of the server",
         ByReason("reason", AdmissionReasons(), RejectedFor), rows);
  AddRow({kCounter, "latentd_deadline_exceeded_total", "RPCs"},
         "RPCs whose deadline or queue_timeout passed, by the phase they were in",
         By("phase", {"queued", "prefill", "decode"},
            [](const Scrape& scrape) {
              return std::array{FinishedFor(Cause::kExpiredInQueue, scrape.data),
                                FinishedFor(Cause::kExpiredInPrefill, scrape.data),
                                FinishedFor(Cause::kExpiredInDecode, scrape.data)};
            }),
         rows);
}

void AddLatency(const char* name, const char* help, Histogram OutcomeTotals::*latency,
                const std::vector<std::string>& outcomes, MetricRows& rows) {
  const auto read = [latency](const MetricsData& data, const std::string& reason) -> const Histogram& {
    return TotalsOf(data, reason).*latency;
  };
  AddRow({kHistogram, name, "seconds"}, help, ByReason("outcome", outcomes, read), rows);
}

void AddLatencies(MetricRows& rows) {
  AddLatency("latentd_request_duration_seconds", "From arrival to the status", &OutcomeTotals::request_seconds,
             AllReasons(), rows);
  AddLatency("latentd_queue_seconds", "From arrival to the first step, or to the end if there was none",
             &OutcomeTotals::queue_seconds, RunReasons(), rows);
  AddLatency("latentd_prefill_seconds", "From the first step to the first token, or to the end if there was none",
             &OutcomeTotals::prefill_seconds, RunReasons(), rows);
  AddLatency("latentd_time_to_first_token_seconds", "From arrival to the first token",
             &OutcomeTotals::time_to_first_token_seconds, RunReasons(), rows);
  AddLatency("latentd_decode_seconds", "From the first token to the end", &OutcomeTotals::decode_seconds, RunReasons(),
             rows);
  AddLatency("latentd_inter_token_latency_seconds", "Between two tokens of one answer, as the engine made them",
             &OutcomeTotals::inter_token_latency_seconds, RunReasons(), rows);
  AddLatency("latentd_time_per_output_token_seconds", "Mean time between the tokens of an answer, one value each",
             &OutcomeTotals::time_per_output_token_seconds, RunReasons(), rows);
  AddLatency("latentd_preempted_seconds", "Time that requests which were preempted spent without blocks",
             &OutcomeTotals::preempted_seconds, RunReasons(), rows);
  AddLatency("latentd_cancel_to_release_seconds",
             "From a cancel command (of client, RPC deadline or operator) to the release of the request's blocks",
             &OutcomeTotals::cancel_to_release_seconds, RunReasons(), rows);
}

void AddTokens(MetricRows& rows) {
  AddRow({kCounter, "latentd_prompt_tokens_total", "tokens"},
         "Prompt tokens put in place, by where they came from; recomputed ones, of prompts and answers, were lost to a "
         "preemption",
         By("source", {"computed", "prefix_cache", "recomputed"},
            [](const Scrape& scrape) {
              const MetricsData& data = scrape.data;
              return std::array{data.prompt_tokens_computed, data.prompt_tokens_cached, data.recomputed_tokens};
            }),
         rows);
  AddRow({kCounter, "latentd_prompt_tokens_admitted_total", "tokens"}, "Prompt tokens of admitted requests",
         One(&MetricsData::prompt_tokens_admitted), rows);
  AddRow({kCounter, "latentd_prompt_tokens_abandoned_total", "tokens"},
         "Prompt tokens of admitted requests that ended before these were computed",
         One(&MetricsData::prompt_tokens_abandoned), rows);
  AddRow({kGauge, "latentd_prompt_tokens_pending", "tokens"}, "Prompt tokens of live requests, to be computed",
         One(&MetricsData::prompt_tokens_pending), rows);
  AddRow({kCounter, "latentd_generated_tokens_total", "tokens"},
         "Generated tokens: given to the answer's stream, or past a stop string",
         By("outcome", {"delivered", "discarded"},
            [](const Scrape& scrape) {
              return std::array{scrape.data.generated_tokens_delivered, scrape.data.generated_tokens_discarded};
            }),
         rows);
  AddRow(
      {kCounter, "latentd_wasted_tokens_total", "tokens"},
      "Positions that went through the model in vain: all of a request that failed or was cut off, and what "
      "was generated past the stop string of an answer, which counts for STOP_STRING",
      ByReason("cause", WasteCauses(),
               [](const MetricsData& data, const std::string& reason) { return TotalsOf(data, reason).wasted_tokens; }),
      rows);
  AddRow({kHistogram, "latentd_prompt_length_tokens", "tokens"}, "Prompt tokens of requests that ended",
         One(&MetricsData::prompt_length_tokens), rows);
  AddRow({kHistogram, "latentd_generation_length_tokens", "tokens"},
         "Tokens delivered by requests that ended, in all of their answers; Score does not count",
         One(&MetricsData::generation_length_tokens), rows);
}

}  // namespace

const std::vector<std::string>& PriorityNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    for (int priority = kLowestPriority; priority <= kHighestPriority; ++priority) {
      made.push_back(std::to_string(priority));
    }
    return made;
  }();
  return names;
}

uint64_t FinishedFor(Cause cause, const MetricsData& data) {
  uint64_t total = 0;
  for (const auto& [outcome, count] : data.requests_finished) {
    if (outcome.reason == RowOf(cause).reason) total += count;
  }
  return total;
}

void AddRequestRows(MetricRows& rows) {
  AddFlow(rows);
  AddLatencies(rows);
  AddTokens(rows);
}

}  // namespace latentd
