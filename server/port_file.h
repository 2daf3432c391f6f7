// Tells scripts where the daemon listens: {"grpc": "127.0.0.1:PORT", "metrics": "127.0.0.1:PORT"}.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace latentd {

// The file appears whole or not at all.
absl::Status WritePortFile(const std::string& path, const std::string& grpc_address,
                           const std::string& metrics_address);

}  // namespace latentd
