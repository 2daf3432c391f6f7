// grpc.health.v1: the status of each name, on request and as it changes. gRPC's own has no bound on its watchers. Owned
// by GrpcServer; any thread. Names are known from the first Set on, for ever.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/stream_places.h"

namespace latentd {

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  using Context = grpc::CallbackServerContext;
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  using Status = Response::ServingStatus;
  static constexpr int kMaxWatchers = 256;

  void Set(const std::string& name, Status status);
  // Ends every watch, and those that come later at once.
  void End();

  grpc::ServerUnaryReactor* Check(Context* context, const Request* request, Response* response) override;
  grpc::ServerWriteReactor<Response>* Watch(Context* context, const Request* request) override;

 private:
  class Watcher;

  Status StatusOf(const std::string& name) const;  // with mutex_ held

  StreamPlaces places_{kMaxWatchers};
  mutable std::mutex mutex_;  // guards all below, and what watchers do
  std::map<std::string, Status> statuses_;
  std::set<Watcher*> watchers_;
  bool has_ended_ = false;
};

}  // namespace latentd
