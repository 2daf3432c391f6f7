// Tells routers over ZeroMQ what the prefix cache holds, docs/spec/operate.md 3: each event of the engine's stream is a
// message [topic, number, payload] of a PUB socket; a ROUTER socket repeats them from a number on (kv_replays.h).
// Addresses are bound at once, a thread of its own serves them once there is a stream; the engine never waits for it.
// Owned by the Listeners.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/loop/kv_event_stream.h"
#include "engine/metrics.h"
#include "server/events/kv_replays.h"
#include "server/events/zmq_socket.h"
#include "server/net/address.h"

namespace latentd {

// "kv@pod@model", with this host's name for the pod's.
std::string KvEventsTopic(const std::string& model);

class KvEventsPublisher {
 public:
  struct Options {
    std::string listen;
    std::string replay_listen;  // empty: nothing is repeated
    std::string topic;
  };
  // `metrics` must outlive it.
  static absl::StatusOr<std::unique_ptr<KvEventsPublisher>> Bind(const Options& options, Metrics& metrics);
  KvEventsPublisher(const KvEventsPublisher&) = delete;
  KvEventsPublisher& operator=(const KvEventsPublisher&) = delete;
  ~KvEventsPublisher();  // before the source goes

  // Starts the thread; once.
  void Serve(KvEventSource source);

  const Address& address() const { return address_; }
  const std::optional<Address>& replay_address() const { return replay_address_; }

 private:
  KvEventsPublisher(std::string topic, Metrics& metrics) : topic_(std::move(topic)), metrics_(metrics) {}

  absl::StatusOr<ZmqSocket> Open(ZmqKind kind, const std::string& listen, const char* flag, Address& address);
  void Run(const KvEventSource& source);
  bool Publish(KvEventReader& reader);

  const std::string topic_;
  Metrics& metrics_;
  ZmqContext context_;
  std::optional<ZmqSocket> publisher_;
  std::optional<ZmqSocket> router_;
  Address address_;
  std::optional<Address> replay_address_;

  const std::shared_ptr<const WakeFlag> wake_ = std::make_shared<WakeFlag>();
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

}  // namespace latentd
