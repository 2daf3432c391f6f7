// Tells scripts where the daemon listens: {"grpc": "127.0.0.1:PORT", "metrics": "127.0.0.1:PORT"}, and "admin" where
// that service is on. There is one while the daemon serves, and at no other time. Any thread.
#pragma once

#include <optional>
#include <string>

#include <absl/status/status.h>

#include "server/address.h"

namespace latentd {

struct BoundAddresses {
  Address grpc;
  Address metrics;
  std::optional<Address> admin;  // none: off
};

// Removes what a daemon before left at `path`, and finds out whether a file can be made and
// written there, before anything is waited for. An empty path: none.
absl::Status PreparePortFile(const std::string& path);
// The file appears whole or not at all.
absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses);
// The one that was written, unless another process has replaced it.
void RemovePortFile();

}  // namespace latentd
