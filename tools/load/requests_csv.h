// A run's requests as CSV, a line each: for a spreadsheet or a data frame.
#pragma once

#include <string>
#include <vector>

#include "tools/load/request_record.h"

namespace latentd {

// Moments are seconds from the start of the run, latencies count from the intended start; empty: not reached.
std::string MakeRequestsCsv(const std::vector<RequestRecord>& records, const std::vector<TenantShare>& tenants);

}  // namespace latentd
