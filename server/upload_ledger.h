// Bytes of messages that are being received, as gRPC holds them: of each connection, of its peer, in all. The intake
// lets only so many begin as fit its budget; this bounds what comes all the same, to any service, and says who has to
// go: of the peers above the average the connections above their peer's average. Any thread.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace latentd {

class UploadLedger {
 public:
  class Connection;

  // Before the first connection: what may be held in all.
  void SetLimit(size_t num_bytes);

  // A connection of the peer of that name; without a name it has no peer that others belong to.
  std::unique_ptr<Connection> Connect(const std::string& peer);

  // What the connection holds now. False: it has to go, since there is too much in all and it has a large part of it.
  bool Hold(Connection& connection, size_t num_bytes);
  // It is over, and holds nothing from now on.
  void Close(Connection& connection);

  size_t num_bytes() const;

 private:
  struct Part {
    size_t num_bytes = 0;
    size_t num_holders = 0;  // that hold anything
    size_t average() const { return num_holders == 0 ? 0 : num_bytes / num_holders; }
  };

  void Set(Connection& connection, size_t num_bytes);

  mutable std::mutex mutex_;  // guards all below, and all connections
  size_t limit_ = size_t{1} << 30;
  Part all_;  // its holders are peers
  std::map<std::string, std::weak_ptr<Part>> peers_;
};

class UploadLedger::Connection {
 public:
  explicit Connection(std::shared_ptr<Part> peer) : peer_(std::move(peer)) {}

 private:
  friend class UploadLedger;
  const std::shared_ptr<Part> peer_;  // its holders are connections
  size_t num_bytes_ = 0;
  bool is_closed_ = false;
};

}  // namespace latentd
