// The listening socket and what every service shares: limits, keepalive, health per service name, reflection.
// Connections are accepted by server/acceptor, not by gRPC.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/clock.h"
#include "server/acceptor.h"
#include "server/connection_table.h"
#include "server/health_service.h"
#include "server/message_limit.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace latentd {

class GrpcServer {
 public:
  enum class Health { kLoading, kServing, kStalled, kDraining };
  struct Endpoint {
    std::string listen;                           // as ParseAddress takes it
    std::string flag = "--listen";                // that chose it, for the message where it can't be had
    std::vector<grpc::Service*> services = {};    // must outlive the server
    std::vector<std::string> service_names = {};  // theirs
    std::vector<std::string> health_names = {};   // more that have a health of their own
    Health health = Health::kServing;             // to begin with
    ListenerKind kind = ListenerKind::kApi;
    ConnectionLimits limits = {};
    double slow_consumer_seconds = 30.0;  // a client that answers nothing for that long is no reason to hang up
  };
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Endpoint& endpoint);
  ~GrpcServer();  // Shutdown must have been called

  std::string address() const { return acceptor_->address().ToString(); }  // with the port that was bound

  // Readiness of the server and of every service, for Check and Watch. Any thread; kDraining is final. Liveness is a
  // service name of its own, "latentd.liveness": serving for as long as the process answers.
  void SetHealth(Health health);
  void SetHealthOf(const std::string& name, Health health);
  // Refuses connections, ends whatever still runs at the deadline and returns when every call is over.
  void Shutdown(TimePoint deadline);

 private:
  explicit GrpcServer(const Endpoint& endpoint);
  void ShowHealth();  // with health_mutex_ held
  void SetAccepting(bool can_accept);

  HealthService health_service_;
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex health_mutex_;
  Health health_ = Health::kServing;
  std::map<std::string, Health> health_of_;  // each name's
  bool can_accept_ = true;
  std::unique_ptr<Acceptor> acceptor_;  // its thread calls SetAccepting: the last member
};

}  // namespace latentd
