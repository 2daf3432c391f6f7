// The statistics of a run, for the reports. Latencies count from the intended start.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/load/goodput.h"
#include "tools/load/histogram.h"
#include "tools/load/load_options.h"
#include "tools/load/runner.h"
#include "tools/load/tenant_summary.h"

namespace latentd {

struct NamedHistogram {
  std::string name;   // for programs: "time_to_first_token"
  std::string title;  // for people
  LatencyHistogram histogram;
};

struct StatusCount {
  std::string code;
  std::string reason;
  uint64_t count = 0;
  uint64_t unexpected = 0;  // neither success nor planned by the mix
  std::string example;      // the first message of an unexpected one
};

// In the prompts of measured requests that came to run.
struct CacheHits {
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;  // of them, found in the server's prefix cache
  double fraction = 0.0;
};

// What drafts came to, in the answers of measured requests that succeeded.
struct Speculation {
  uint64_t drafted_tokens = 0;
  uint64_t accepted_tokens = 0;
  double acceptance = 0.0;       // of the drafted ones; 0 where there are none
  double tokens_per_step = 0.0;  // that a step gave an answer: 1 without drafts, 0 where there are no tokens
};

// The requests of one behaviour.
struct AdversaryCount {
  std::string name;
  uint64_t sent = 0;
  uint64_t unexpected = 0;
  std::map<std::string, uint64_t> ends;  // by code and reason
};

struct LatencyPair {
  int64_t median = 0;
  int64_t p99 = 0;
};

// The events of one second of the run; latencies belong to the second of the intended start.
struct TimelineSecond {
  uint64_t sent = 0;
  uint64_t ended = 0;
  uint64_t output_tokens = 0;
  uint64_t prompt_tokens = 0;  // of requests whose first token came then, like the next
  uint64_t cached_tokens = 0;
  LatencyPair ttft;
  LatencyPair end_to_end;
};

struct Summary {
  uint64_t sent = 0;
  uint64_t measured = 0;  // those after the warm-up; what follows is about them
  uint64_t succeeded = 0;
  uint64_t unexpected = 0;  // of all that were sent, like the next
  uint64_t broken_streams = 0;
  std::string first_violation;

  double window_seconds = 0.0;  // from the end of the warm-up to the last answer
  double requests_per_second = 0.0;
  double input_tokens_per_second = 0.0;
  double output_tokens_per_second = 0.0;
  Goodput goodput;
  std::vector<NamedHistogram> latencies;
  std::vector<NamedHistogram> server_timings;
  LatencyHistogram lag;  // of all that were sent
  Speculation speculation;
  CacheHits cache;
  std::vector<TenantSummary> tenants;
  double fairness = 1.0;  // of the tenants, where there are any
  std::vector<StatusCount> statuses;
  std::vector<AdversaryCount> adversaries;
  uint64_t half_open = 0;
  uint64_t half_open_closed_by_server = 0;
  std::vector<TimelineSecond> timeline;

  double cpu_seconds = 0.0;
  double cpu_seconds_per_token = 0.0;  // 0 where there is none
  double cpu_seconds_per_message = 0.0;

  bool is_valid = true;
  std::string why_invalid;
};

Summary Summarize(const RunResult& run, const LoadOptions& options);

}  // namespace latentd
