// All that the command line of `latentctl load` says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "tools/load/runner.h"
#include "tools/load/workload.h"

namespace latentd {

// Service level objective: a request is good where it meets all that are set. Seconds.
struct Slo {
  std::optional<double> time_to_first_token;
  std::optional<double> time_per_output_token;
  std::optional<double> end_to_end;

  bool is_set() const { return time_to_first_token || time_per_output_token || end_to_end; }
};

// A record of each request is held in memory.
inline constexpr uint64_t kMaxRequests = 1'000'000;

struct LoadOptions {
  RunOptions run;
  WorkloadOptions workload;
  Slo slo;
  double max_lag_seconds = 0.05;
  bool checks = false;
  bool has_probe = false;
  int max_checked_requests = 64;
  std::string metrics;  // HOST:PORT; empty: none
  std::string json_file;
  std::string html_file;
  std::string csv_file;
};

// "ttft=0.2,tpot=0.05,e2e=5", any part of it.
absl::StatusOr<Slo> ParseSlo(std::string_view text);

// "LOW:HIGH" into the workload's deadlines.
absl::Status ParseDeadlines(std::string_view text, WorkloadOptions& workload);

// Sets the bounds that were not given (0) and holds everything against its range.
absl::Status Complete(LoadOptions& options);

}  // namespace latentd
