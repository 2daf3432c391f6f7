// The reports of a run: a table for people, JSON for programs, a page to look at.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "latentd/v1/models.pb.h"
#include "tools/load/check.h"
#include "tools/load/load_options.h"
#include "tools/load/summary.h"

namespace latentd {

// Version of the JSON: changes whenever a field changes its name or its meaning.
inline constexpr char kSchema[] = "latentd-load/1";

struct LoadReport {
  LoadOptions options;
  v1::Model model;
  std::string started_at;  // UTC, ISO 8601
  double seconds = 0.0;
  bool was_interrupted = false;
  Summary summary;
  std::optional<Summary> probe;
  std::vector<CheckOutcome> checks;

  bool passed() const;
};

std::string MakeTable(const LoadReport& report);
std::string MakeJson(const LoadReport& report);
// One self-contained file that loads nothing, of what MakeJson or MakeSweepJson made.
std::string MakeHtml(const std::string& json);

absl::Status WriteFile(const std::string& file, const std::string& contents);

}  // namespace latentd
