// The listening socket and what every service shares: limits, keepalive, health per service name, reflection.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/clock.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace latentd {

inline constexpr int kMaxMessageBytes = 4 << 20;

class GrpcServer {
 public:
  enum class Health { kLoading, kServing, kStalled, kDraining };
  struct Endpoint {
    std::string listen;                         // HOST:PORT
    std::string flag = "--listen";              // that chose it, for the message where it can't be had
    std::vector<grpc::Service*> services = {};  // must outlive the server
    std::vector<std::string> health_names = {};
    Health health = Health::kServing;  // to begin with
  };
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Endpoint& endpoint);
  ~GrpcServer();  // Shutdown must have been called

  const std::string& address() const { return address_; }  // with the port that was bound

  // Readiness of the server and of every service, for Check and Watch. Any thread; kDraining is final. Liveness is a
  // service name of its own, "latentd.liveness": serving for as long as the process answers.
  void SetHealth(Health health);
  void SetHealthOf(const std::string& name, Health health);
  // Refuses connections, ends whatever still runs at the deadline and returns when every call is over.
  void Shutdown(TimePoint deadline);

 private:
  GrpcServer(std::unique_ptr<grpc::Server> server, std::string address, std::vector<std::string> service_names);

  const std::unique_ptr<grpc::Server> server_;
  const std::string address_;
  const std::vector<std::string> service_names_;
  std::mutex health_mutex_;
  bool is_draining_ = false;
};

}  // namespace latentd
