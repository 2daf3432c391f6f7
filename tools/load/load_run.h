// One run of a load, from connecting to its report.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "latentd/v1/models.pb.h"
#include "tools/client/client.h"
#include "tools/client/interrupt.h"
#include "tools/load/report.h"

namespace latentd {

// Whom runs are sent to, and what ends them early. Must outlive the runs.
struct LoadTarget {
  Client& client;
  v1::Model model;
  Interrupt& interrupt;
};

absl::StatusOr<v1::Model> AskModel(Client& client, const std::string& server);

struct FinishedRun {
  LoadReport report;
  std::vector<RequestRecord> records;  // by index
};

// `options` are complete.
absl::StatusOr<FinishedRun> RunLoad(const LoadOptions& options, LoadTarget& target);

}  // namespace latentd
