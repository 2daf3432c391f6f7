// The Admin service with all that it alone needs, on its own address: its server, its egress thread, the load monitor.
// Also answers Models and the health of Generation there, so that one address tells an operator everything. Owned by
// the Listeners.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "server/access/access.h"
#include "server/admin/admin_service.h"
#include "server/config/config.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/models_service.h"
#include "server/grpc/reception.h"

namespace latentd {

class AdminEndpoint {
 public:
  // All outlive the endpoint.
  struct Parts {
    const ServingGate& gate;
    Metrics& metrics;
    Reception& reception;
    const Access access;
    DrainState& drain;
    ServingState& state;
    StopRequest& stop;
    const Config& config;
    std::vector<KnobValue> knobs;
  };
  // Null where config.admin_listen is empty.
  static absl::StatusOr<std::unique_ptr<AdminEndpoint>> Start(Parts parts);

  const Address& address() const { return server_->address(); }
  // What was left to the daemon is decided.
  void Resolve(const DerivedKnobs& derived) { admin_.Resolve(derived); }
  // The drain's stage changed.
  void DrainMovedOn() { admin_.WakeStreams(); }
  // Waits for the last words of open streams until the deadline, then ends whatever is left.
  void Shutdown(TimePoint deadline);

 private:
  explicit AdminEndpoint(Parts parts);

  LoadMonitor load_;
  Egress egress_;
  AdminService admin_;
  ModelsService models_;
  std::unique_ptr<GrpcServer> server_;
};

}  // namespace latentd
