// Tells scripts where the daemon listens: {"grpc": "127.0.0.1:PORT", "metrics": "127.0.0.1:PORT"}, and "admin" where
// that service is on.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace latentd {

struct BoundAddresses {
  std::string grpc;
  std::string metrics;
  std::string admin;  // empty: off
};

// The file appears whole or not at all; none for an empty path.
absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses);

}  // namespace latentd
