// grpc.health.v1: the status of each name, on request and as it changes. gRPC's own bounds neither its watchers nor
// what it takes in for them. Owned by GrpcServer; any thread. Names are known from the first Set on, for ever.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "grpc/health/v1/health.pb.h"
#include "server/grpc/byte_service.h"
#include "server/net/stream_places.h"

namespace latentd {

class HealthService final : public ByteService {
 public:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  using Status = Response::ServingStatus;
  static constexpr size_t kMaxWatchers = 256;
  static constexpr size_t kMaxUnread = 256;  // whose message is not there yet

  HealthService();

  void Set(const std::string& name, Status status);
  // Ends every watch, and those that come later at once.
  void End();

 private:
  class Checker;
  class Watcher;

  Status StatusOf(const std::string& name) const;  // with mutex_ held

  StreamPlaces unread_{kMaxUnread};
  StreamPlaces watches_{kMaxWatchers};
  mutable std::mutex mutex_;  // guards all below, and what watchers do
  std::map<std::string, Status> statuses_;
  std::set<Watcher*> watchers_;
  bool has_ended_ = false;
};

}  // namespace latentd
