// The server's counters before and after a run against the client's records. It must have no other client meanwhile.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "tools/load/check.h"
#include "tools/load/metrics_scrape.h"
#include "tools/load/request_record.h"

namespace latentd {

// One consistent moment of an idle server.
struct ServerAccounts {
  double received = 0.0;  // Generate only, like the next two
  double finished = 0.0;
  double finished_ok = 0.0;
  double prompt_tokens = 0.0;
  double delivered_tokens = 0.0;
};

absl::StatusOr<ServerAccounts> AccountsOf(const MetricsPage& page);

// Scrapes until no request is in flight, some seconds at most.
absl::StatusOr<ServerAccounts> ScrapeWhenIdle(const std::string& address, const std::string& token);

// The range of the server's count. Both ends are the same where the client saw everything; a request that was cut
// short may have been given more tokens than reached the client, and one whose deadline passed may never have arrived.
struct Bounds {
  double low = 0.0;
  double high = 0.0;
};

struct ExpectedAccounts {
  Bounds received;
  Bounds finished_ok;
  Bounds prompt_tokens;
  Bounds delivered_tokens;
};

ExpectedAccounts Expect(const std::vector<RequestRecord>& records);

std::vector<CheckOutcome> CompareAccounts(const ServerAccounts& before, const ServerAccounts& after,
                                          const ExpectedAccounts& expected);

}  // namespace latentd
