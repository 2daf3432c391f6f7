// Repeats events of the prefix cache for subscribers that lost some. A request is [the peer, perhaps an empty part, the
// first number]; the answers begin as it did, then number and payload, up to the one with kEndOfReplay. Where that
// number is held no longer, a snapshot of the cache comes before what is held: the engine makes it between two steps,
// and it serves all who ask while what follows it is held. Publisher's thread alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/loop/kv_event_stream.h"
#include "engine/metrics.h"
#include "server/events/zmq_socket.h"

namespace latentd {

// The engine's side of it; what they refer to must outlive who is given them.
struct KvEventSource {
  KvEventStream& stream;
  std::function<void(KvSnapshotListener listener)> snapshot;  // any thread
};

class KvReplays {
 public:
  // `wake` is raised when ServeWaiting has something to do. `router` and `metrics` must outlive it.
  KvReplays(const ZmqSocket& router, KvEventSource source, std::shared_ptr<const WakeFlag> wake, Metrics& metrics);

  // The next request, if there is one.
  void Answer();
  // Those for whom a snapshot was asked for, once it is there.
  void ServeWaiting();

 private:
  using Envelope = std::vector<std::string>;  // what each answer begins with
  struct Arrival;                             // from the engine's thread

  KvReplay Send(const Envelope& envelope, uint64_t from) const;
  KvReplay SendSnapshot(const Envelope& envelope) const;
  bool SendOne(const Envelope& envelope, uint64_t number, std::string payload) const;
  void Count(KvReplay outcome);

  const ZmqSocket& router_;
  const KvEventSource source_;
  Metrics& metrics_;
  const std::shared_ptr<Arrival> arrival_;
  bool is_asked_ = false;          // for a snapshot
  std::vector<Envelope> waiting_;  // for it
  std::vector<KvEvent> snapshot_;  // the last one
};

}  // namespace latentd
