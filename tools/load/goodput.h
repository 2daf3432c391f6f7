// Requests that were served as well as the service level objectives ask for.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/load/load_options.h"
#include "tools/load/request_record.h"

namespace latentd {

struct Goodput {
  uint64_t eligible = 0;  // measured requests that behave well
  uint64_t good = 0;      // of them: succeeded and met every objective
  double fraction = 0.0;
  double requests_per_second = 0.0;
};

// Without adversaries.
Goodput GoodputOf(const std::vector<RequestRecord>& records, const Slo& slo, double window_seconds);

// Seconds between two tokens of an answer; it needs a gap.
double TimePerOutputToken(const RequestRecord& record);

}  // namespace latentd
