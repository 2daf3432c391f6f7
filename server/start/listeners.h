// Every address that the daemon listens on, from the first moment on: the API, the metrics and, where they are on,
// Admin and KV events. Owned by the Daemon.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "base/clock.h"
#include "engine/load/load_model.h"
#include "engine/metrics.h"
#include "latentd/v1/models.pb.h"
#include "server/admin/admin_endpoint.h"
#include "server/events/kv_events_publisher.h"
#include "server/grpc/grpc_server.h"
#include "server/metrics/metrics_exporter.h"
#include "server/start/port_file.h"

namespace latentd {

// A service of the API, under the name that clients, reflection and health know.
struct NamedService {
  std::string name;
  grpc::Service& service;
};

class Listeners {
 public:
  // All or none. `services`, and what `admin_parts` refers to, outlive it.
  static absl::StatusOr<std::unique_ptr<Listeners>> Start(const std::vector<NamedService>& services,
                                                          AdminEndpoint::Parts admin_parts);
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;
  ~Listeners();  // closes at once what is still open

  // What is shown beside the numbers: the model is there. `knobs` as they ended up.
  void Describe(const LoadedModel& loaded, const v1::Model& description, const std::vector<KnobValue>& knobs);
  // From here on subscribers are told of these, which must outlive the listeners.
  void Publish(KvEventSource events);
  // The drain's stage changed.
  void DrainMovedOn();

  void ShutDownApi(TimePoint deadline);
  void ShutDownAdmin(TimePoint deadline);
  // The last call.
  void ShutDownMetrics() { metrics_.reset(); }

  BoundAddresses addresses() const;          // as they were bound
  BoundAddresses addresses_to_dial() const;  // for clients on this machine
  std::string Text() const;

 private:
  Listeners() = default;

  std::unique_ptr<MetricsExporter> metrics_;
  std::unique_ptr<GrpcServer> api_;
  std::unique_ptr<AdminEndpoint> admin_;          // null: off
  std::unique_ptr<KvEventsPublisher> kv_events_;  // null: off
};

}  // namespace latentd
