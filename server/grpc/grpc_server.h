// The listening socket and what every service shares: limits, keepalive, health per service name, reflection.
// Connections are accepted by server/acceptor, not by gRPC.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "base/clock.h"
#include "server/access/authority.h"
#include "server/access/certificates.h"
#include "server/grpc/health_service.h"
#include "server/net/acceptor.h"
#include "server/net/connection_table.h"
#include "server/net/message_limit.h"
#include "server/process/serving_state.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace latentd {

class GrpcServer {
 public:
  // A name that grpc.health.v1 knows, and when it is SERVING.
  struct HealthName {
    std::string name;
    bool (*is_serving)(const ServingState::View& view);
  };
  struct Endpoint {
    std::string listen;                           // as ParseAddress takes it
    std::string flag = "--listen";                // that chose it, for the message where it can't be had
    ServingState& state;                          // outlives the server, and is told whether it accepts connections
    std::vector<grpc::Service*> services = {};    // must outlive the server
    std::vector<std::string> service_names = {};  // theirs
    std::vector<HealthName> health = {};
    ListenerKind kind = ListenerKind::kApi;
    ConnectionLimits limits = {};
    Authority* authority = nullptr;              // who may use reflection; health tells everybody
    const Certificates* certificates = nullptr;  // null: no TLS; never on a unix socket
    double slow_consumer_seconds = 30.0;         // a client that answers nothing for that long is no reason to hang up
  };
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Endpoint& endpoint);
  ~GrpcServer();  // Shutdown must have been called

  const Address& address() const { return acceptor_->address(); }  // with the port that was bound

  // Refuses connections, ends whatever still runs at the deadline and returns when every call is over: a moment later
  // at most, whatever clients do, since connections that are left are closed then.
  void Shutdown(TimePoint deadline);

 private:
  explicit GrpcServer(const Endpoint& endpoint);

  ServingState& state_;
  const ListenerKind kind_;
  HealthService health_service_;  // liveness is a name of its own: SERVING for as long as the process answers
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace latentd
