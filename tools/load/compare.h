// `latentctl load compare`: two reports of runs side by side, and gates that tell whether the second is good enough.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

// What a report says, by name: "ttft.p99", "output_tokens_per_second", "tenant.a.e2e.p50". Times are seconds.
using Figures = std::map<std::string, double>;

struct ComparedRun {
  bool is_valid = true;  // the client kept its schedule
  Figures figures;
};

// `text` is what --json wrote; `name` stands in messages.
absl::StatusOr<ComparedRun> ParseReport(std::string_view text, std::string_view name);
absl::StatusOr<ComparedRun> ReadReport(const std::string& file);

// What has to hold for a figure of the second run.
struct Gate {
  std::string figure;
  bool is_upper = true;  // at most the bound, else at least
  double bound = 0.0;
  bool is_relative = false;  // times the first run's figure
};

// "ttft.p99<=1.1x", "unexpected<=0", "output_tokens_per_second>=0.95x".
absl::StatusOr<Gate> ParseGate(std::string_view text);

struct Comparison {
  std::string table;
  bool holds = true;  // each gate does
};

// NOT_FOUND where a gate names a figure that one of the runs has not.
absl::StatusOr<Comparison> Compare(const ComparedRun& a, const ComparedRun& b, const std::vector<Gate>& gates);

}  // namespace latentd
