// Takes connections from one listening socket on a thread of its own and hands them to a server. gRPC 1.51's own
// listener stops for good the first time that accept(2) finds no descriptor free (CVE-2023-4785); this one refuses what
// is beyond its limits at once and goes on. While the system has no descriptor for it, it says so once, answers each
// client with a closed connection by means of a descriptor that it keeps in reserve, and looks ten times a second.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include <absl/status/statusor.h>

#include "server/net/connection_table.h"
#include "server/net/listening_socket.h"
#include "server/net/reserve_descriptor.h"

namespace latentd {

class Acceptor {
 public:
  struct Options {
    Listening listening = {};
    ConnectionLimits limits = {};
    std::function<void(int descriptor)> hand_over;   // takes ownership; on the acceptor's thread
    std::function<void(bool can_accept)> on_change;  // whether connections can be taken at all; on the same thread
  };
  static absl::StatusOr<std::unique_ptr<Acceptor>> Start(ListeningSocket socket, Options options);
  ~Acceptor();  // Stop

  const Address& address() const { return address_; }
  // The socket is closed, and nothing handed over after this.
  void Stop();

 private:
  Acceptor(ListeningSocket socket, Options options, ReserveDescriptor reserve, int wake);
  void Run();
  // 0, or why the queue of connections could not be emptied.
  int AcceptAll();
  void Take(int descriptor);
  void RefuseFromReserve();
  void SetAccepting(int error);
  bool HasRecovered();

  const Address address_;
  std::optional<ListeningSocket> socket_;  // until Stop
  const Options options_;
  ReserveDescriptor reserve_;
  const int wake_;
  int blocked_by_ = 0;  // errno
  std::thread thread_;
};

}  // namespace latentd
