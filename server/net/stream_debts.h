// Streams that clients opened and that were not answered yet, of each peer and in all. gRPC holds some 25 KiB for a
// stream from the first byte of its headers until the last of its threads has let go of it, also where the client
// resets it at once or drops its connection; a few peers that do so quickly would fill any memory. What a peer has
// opened in vain outlives its connections, and is forgiven with time. Any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/allowance.h"
#include "base/clock.h"

namespace latentd {

class StreamDebts {
 public:
  class Connection;

  // A connection of the peer of that name; without a name it has no peer that others belong to.
  std::unique_ptr<Connection> Connect(const std::string& peer, TimePoint now);

  struct Streams {
    double opened = 0.0;    // each weighs 1, or more if it cost more
    double answered = 0.0;  // that were sent headers: an RPC is when it is admitted, or at its end
  };
  // False: the connection has opened too many, and is to be closed. Others of its peer stay as long as they are modest.
  bool Add(Connection& connection, const Streams& streams, TimePoint now);

 private:
  // Beyond what gRPC's clients reach: an RPC is admitted or refused as soon as its message is there, and 1,024 wait for
  // that at most.
  static constexpr double kPerPeer = 2048.0, kForgivenPerPeerSecond = 200.0;
  static constexpr double kInAll = 4096.0, kForgivenInAllSecond = 2000.0;
  // While there are too many in all, peers that have more than this make room; of a peer that has too many or makes
  // room, connections that have more than this.
  static constexpr double kModestPeer = 256.0, kModestConnection = 32.0;
  static_assert(kModestConnection < kModestPeer && kModestPeer < kPerPeer && kPerPeer < kInAll);
  static constexpr size_t kMaxForgotten = 64;  // peers to look at in one call

  void ForgetSome(TimePoint now);

  std::mutex mutex_;  // guards all below, and all connections
  std::map<std::string, std::shared_ptr<Allowance>> peers_;
  std::string looked_at_;  // the last one by ForgetSome
  Allowance in_all_{kInAll, kForgivenInAllSecond, TimePoint{}};
};

class StreamDebts::Connection {
 public:
  Connection(std::shared_ptr<Allowance> peer, TimePoint now)
      : account_(kPerPeer, kForgivenPerPeerSecond, now), peer_(std::move(peer)) {}

 private:
  friend class StreamDebts;
  Allowance account_;
  const std::shared_ptr<Allowance> peer_;
};

}  // namespace latentd
