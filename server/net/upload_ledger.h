// Bytes of messages that are being received, as gRPC holds them: of each connection, of its peer, in all. The intake
// lets only so many begin as fit its budget; this bounds messages that come all the same, to any service: beyond its
// limit the connection that holds most of the peer that holds most is cut off, also when another one sent the last
// byte. Any thread.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace latentd {

class UploadLedger {
 public:
  class Connection;

  // Call before the first connection: the bytes that may be held in all.
  void SetLimit(size_t num_bytes);

  // A connection of the peer of that name; without a name it has no peer that others belong to.
  std::unique_ptr<Connection> Connect(const std::string& peer, int descriptor);

  // `num_bytes` are held by the connection now. A descriptor: there is too much in all, and that connection has to go.
  std::optional<int> Hold(Connection& connection, size_t num_bytes);
  // It is over, and holds nothing from now on.
  void Close(Connection& connection);

  size_t num_bytes() const;

 private:
  struct Part {
    size_t num_bytes = 0;
  };

  void Set(Connection& connection, size_t num_bytes);
  void CloseLocked(Connection& connection);

  mutable std::mutex mutex_;  // guards all below, and all connections
  size_t limit_ = size_t{1} << 30;
  size_t num_bytes_ = 0;
  std::map<std::string, std::weak_ptr<Part>> peers_;
  std::set<Connection*> open_;
};

class UploadLedger::Connection {
 public:
  Connection(std::shared_ptr<Part> peer, int descriptor) : peer_(std::move(peer)), descriptor_(descriptor) {}

 private:
  friend class UploadLedger;
  const std::shared_ptr<Part> peer_;
  const int descriptor_;
  size_t num_bytes_ = 0;
};

}  // namespace latentd
