#include "tools/load/summary.h"

#include <algorithm>
#include <map>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/number_text.h"

namespace latentd {
namespace {

// One pause of the client hits few requests of a long run, so the worst lag counts, too, with more patience.
constexpr double kWorstLagFactor = 10.0;
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

int64_t Nanoseconds(double seconds) { return static_cast<int64_t>(seconds * 1e9); }
double Seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

std::vector<RequestRecord> Measured(const std::vector<RequestRecord>& records, double warmup_seconds) {
  std::vector<RequestRecord> measured;
  const int64_t begin = Nanoseconds(warmup_seconds);
  std::copy_if(records.begin(), records.end(), std::back_inserter(measured),
               [begin](const RequestRecord& record) { return record.intended >= begin; });
  return measured;
}

// A latency that a request reached, whatever its end: an answer that is cancelled later did have its first token.
// Statistics of a whole answer are of whole answers only.
void AddLatencies(const std::vector<RequestRecord>& records, const LatencyHistogram& token_waits, Summary& summary) {
  LatencyHistogram first, second, per_token, whole;
  for (const RequestRecord& record : records) {
    if (!ReadsPromptly(record.behaviour)) continue;
    if (record.first_token != kNotReached) first.Record(record.first_token - record.intended);
    if (record.second_token != kNotReached) second.Record(record.second_token - record.intended);
    if (!record.succeeded()) continue;
    if (record.num_gaps > 0) per_token.Record(Nanoseconds(TimePerOutputToken(record)));
    whole.Record(record.ended - record.intended);
  }
  summary.latencies = {{"time_to_first_token", "time to first token", std::move(first)},
                       {"time_to_second_token", "time to second token", std::move(second)},
                       {"inter_token_latency", "inter-token latency", token_waits},
                       {"time_per_output_token", "time per output token", std::move(per_token)},
                       {"end_to_end", "end to end", std::move(whole)}};
}

void AddServerTimings(const std::vector<RequestRecord>& records, Summary& summary) {
  LatencyHistogram queue, prefill, decode;
  for (const RequestRecord& record : records) {
    if (!record.succeeded()) continue;
    queue.Record(Nanoseconds(record.queue_seconds));
    prefill.Record(Nanoseconds(record.prefill_seconds));
    decode.Record(Nanoseconds(record.decode_seconds));
  }
  summary.server_timings = {{"queue", "server: queue", std::move(queue)},
                            {"prefill", "server: prefill", std::move(prefill)},
                            {"decode", "server: decode", std::move(decode)}};
}

void AddCache(const std::vector<RequestRecord>& records, CacheHits& cache) {
  for (const RequestRecord& record : records) {
    cache.prompt_tokens += record.prompt_tokens;
    cache.cached_tokens += record.cached_tokens;
  }
  if (cache.prompt_tokens == 0) return;
  cache.fraction = static_cast<double>(cache.cached_tokens) / static_cast<double>(cache.prompt_tokens);
}

// A step gives an answer one token beside the drafts that it accepts.
void AddSpeculation(const std::vector<RequestRecord>& records, Speculation& speculation) {
  uint64_t output_tokens = 0;
  uint64_t steps = 0;
  for (const RequestRecord& record : records) {
    if (!record.succeeded()) continue;
    speculation.drafted_tokens += record.drafted_tokens;
    speculation.accepted_tokens += record.accepted_tokens;
    output_tokens += record.output_tokens;
    // Some may have been accepted behind a stop string, where the answer has none.
    steps += record.output_tokens - std::min(record.accepted_tokens, record.output_tokens);
  }
  const auto per = [](uint64_t count, uint64_t all) {
    return all == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(all);
  };
  speculation.acceptance = per(speculation.accepted_tokens, speculation.drafted_tokens);
  speculation.tokens_per_step = per(output_tokens, steps);
}

void AddStatuses(const std::vector<RequestRecord>& records, Summary& summary) {
  std::map<std::pair<int, std::string>, StatusCount> counts;
  for (const RequestRecord& record : records) {
    StatusCount& entry = counts[{static_cast<int>(record.code), record.reason}];
    entry.code = absl::StatusCodeToString(static_cast<absl::StatusCode>(record.code));
    entry.reason = record.reason;
    ++entry.count;
    if (!EndedAsExpected(record)) {
      if (entry.unexpected++ == 0) entry.example = record.message;
      ++summary.unexpected;
    }
    if (record.grammar_violation.empty()) continue;
    if (summary.broken_streams++ == 0) {
      summary.first_violation = absl::StrFormat("request %d: %s", record.index, record.grammar_violation);
    }
  }
  for (auto& [key, entry] : counts) summary.statuses.push_back(std::move(entry));
}

void AddAdversaries(const std::vector<RequestRecord>& records, std::vector<AdversaryCount>& adversaries) {
  std::map<Behaviour, AdversaryCount> counts;
  for (const RequestRecord& record : records) {
    if (record.behaviour == Behaviour::kWell) continue;
    AdversaryCount& count = counts[record.behaviour];
    ++count.sent;
    count.unexpected += EndedAsExpected(record) ? 0 : 1;
    ++count.ends[absl::StatusCodeToString(static_cast<absl::StatusCode>(record.code)) +
                 (record.reason.empty() ? "" : " " + record.reason)];
  }
  for (auto& [behaviour, count] : counts) {
    count.name = NameOf(behaviour);
    adversaries.push_back(std::move(count));
  }
}

void AddThroughput(const std::vector<RequestRecord>& all, const RunResult& run, double warmup, Summary& summary) {
  summary.window_seconds = std::max(run.seconds - warmup, 1e-9);
  const int64_t begin = Nanoseconds(warmup);
  uint64_t ended = 0;
  uint64_t input_tokens = 0;
  for (const RequestRecord& record : all) {
    if (record.succeeded() && record.ended >= begin) ++ended;
    // A prompt has gone in when its first token comes out.
    if (record.first_token >= begin) input_tokens += record.prompt_tokens;
  }
  summary.requests_per_second = static_cast<double>(ended) / summary.window_seconds;
  summary.input_tokens_per_second = static_cast<double>(input_tokens) / summary.window_seconds;
  summary.output_tokens_per_second = static_cast<double>(run.tokens_after_warmup) / summary.window_seconds;
}

LatencyPair PairOf(std::vector<int64_t>& values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](size_t percent) { return values[(values.size() - 1) * percent / 100]; };
  return {.median = at(50), .p99 = values.size() < 100 ? values.back() : at(99)};
}

void AddTimeline(const RunResult& run, Summary& summary) {
  const size_t num_seconds = static_cast<size_t>(run.seconds) + 1;
  summary.timeline.resize(num_seconds);
  std::vector<std::vector<int64_t>> first(num_seconds), whole(num_seconds);
  const auto second_of = [num_seconds](int64_t moment) {
    return std::min(static_cast<size_t>(moment / kNanosecondsPerSecond), num_seconds - 1);
  };
  for (const RequestRecord& record : run.records) {
    ++summary.timeline[second_of(record.sent)].sent;
    ++summary.timeline[second_of(record.ended)].ended;
    if (record.first_token != kNotReached) {
      TimelineSecond& computed = summary.timeline[second_of(record.first_token)];
      computed.prompt_tokens += record.prompt_tokens;
      computed.cached_tokens += record.cached_tokens;
    }
    const size_t second = second_of(record.intended);
    if (record.first_token != kNotReached) first[second].push_back(record.first_token - record.intended);
    if (record.succeeded()) whole[second].push_back(record.ended - record.intended);
  }
  for (size_t i = 0; i < num_seconds; ++i) {
    if (i < run.tokens_by_second.size()) summary.timeline[i].output_tokens = run.tokens_by_second[i];
    summary.timeline[i].ttft = PairOf(first[i]);
    summary.timeline[i].end_to_end = PairOf(whole[i]);
  }
}

void AddCpu(const RunResult& run, Summary& summary) {
  uint64_t tokens = 0;
  for (const RequestRecord& record : run.records) tokens += record.output_tokens;
  summary.cpu_seconds = run.cpu_seconds;
  if (tokens > 0) summary.cpu_seconds_per_token = run.cpu_seconds / static_cast<double>(tokens);
  if (run.num_messages > 0) summary.cpu_seconds_per_message = run.cpu_seconds / static_cast<double>(run.num_messages);
}

void JudgeLag(const RunResult& run, double max_lag, Summary& summary) {
  for (const RequestRecord& record : run.records) summary.lag.Record(record.lag());
  const double p99 = Seconds(summary.lag.Percentile(99.0));
  const double worst = Seconds(summary.lag.max());
  summary.is_valid = p99 <= max_lag && worst <= kWorstLagFactor * max_lag;
  if (summary.is_valid) return;
  summary.why_invalid = absl::StrFormat(
      "the client lagged behind its own schedule: p99 %s s (expected at most %s), worst %s s (at most %s); "
      "lower --rate, give the client more CPU or raise --max-lag",
      NumberText(p99), NumberText(max_lag), NumberText(worst), NumberText(kWorstLagFactor * max_lag));
}

}  // namespace

Summary Summarize(const RunResult& run, const LoadOptions& options) {
  Summary summary;
  const double warmup = options.run.warmup_seconds;
  const std::vector<RequestRecord> measured = Measured(run.records, warmup);
  summary.sent = run.records.size();
  summary.measured = measured.size();
  summary.succeeded = static_cast<uint64_t>(
      std::count_if(measured.begin(), measured.end(), [](const RequestRecord& record) { return record.succeeded(); }));
  AddLatencies(measured, run.token_waits, summary);
  AddServerTimings(measured, summary);
  AddSpeculation(measured, summary.speculation);
  AddStatuses(run.records, summary);
  AddAdversaries(run.records, summary.adversaries);
  summary.half_open = run.half_open;
  summary.half_open_closed_by_server = run.half_open_closed_by_server;
  AddThroughput(run.records, run, warmup, summary);
  summary.goodput = GoodputOf(measured, options.slo, summary.window_seconds);
  AddCache(measured, summary.cache);
  summary.tenants = SummarizeTenants(run, options, summary.window_seconds);
  summary.fairness = FairnessOf(summary.tenants, options.run.loop);
  AddTimeline(run, summary);
  AddCpu(run, summary);
  JudgeLag(run, options.max_lag_seconds, summary);
  return summary;
}

}  // namespace latentd
