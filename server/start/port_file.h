// Tells scripts where the daemon listens: {"grpc": "127.0.0.1:PORT", "metrics": "127.0.0.1:PORT", "pid": 1234}, and
// "admin", "kv_events" and "kv_events_replay" where these are on. There is one while the daemon serves. Its writer
// holds a lock on it as long as it lives, which tells a stale file from a living daemon's. Any thread.
#pragma once

#include <optional>
#include <string>

#include <absl/status/status.h>

#include "server/net/address.h"

namespace latentd {

struct BoundAddresses {
  Address grpc;
  Address metrics;
  std::optional<Address> admin = {};  // none: off
  std::optional<Address> kv_events = {}, kv_events_replay = {};
};

// Removes what a daemon that is gone left at `path`, and finds out whether a file can be made and written there, before
// anything is waited for. A living daemon's is left alone; what is no port file is refused. An empty path: none.
absl::Status PreparePortFile(const std::string& path);
// The file appears whole or not at all, in place of another daemon's only.
absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses);
// The one that was written, unless another process has replaced it.
void RemovePortFile();

}  // namespace latentd
