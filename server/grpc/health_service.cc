#include "server/grpc/health_service.h"

#include "server/grpc/small_rpc.h"

namespace latentd {
namespace {

const grpc::Status kGoing(grpc::StatusCode::UNAVAILABLE, "the server is shutting down");
const grpc::Status kUnknown(grpc::StatusCode::NOT_FOUND, "no service of this server has this name");
const grpc::Status kMalformed(grpc::StatusCode::INVALID_ARGUMENT, "expected a HealthCheckRequest, found other bytes");
const grpc::Status kNoMessage(grpc::StatusCode::INVALID_ARGUMENT, "expected one whole message, found none");

}  // namespace

class HealthService::Checker final : public SmallRpc {
 public:
  Checker(grpc::CallbackServerContext& context, HealthService& service)
      : SmallRpc(context, service.unread_), service_(service) {}

 private:
  void Handle(const std::string& message) override {
    Request request;
    if (!request.ParseFromString(message)) return End(kMalformed);
    Response response;
    {
      std::lock_guard lock(service_.mutex_);
      response.set_status(service_.StatusOf(request.service()));
    }
    response.status() == Response::SERVICE_UNKNOWN ? End(kUnknown) : EndWith(response);
  }
  void HandleEnd() override { End(kNoMessage); }

  HealthService& service_;
};

// One Watch: what changed twice during a write is told once.
class HealthService::Watcher final : public SmallRpc {
 public:
  Watcher(grpc::CallbackServerContext& context, HealthService& service)
      : SmallRpc(context, service.unread_), service_(service) {}

  // Both with the service's mutex held.
  void Tell() {
    if (is_writing()) return;
    const Status status = service_.StatusOf(name_);
    if (has_told_ && status == response_.status()) return;
    response_.set_status(status);
    has_told_ = true;
    Write(response_);
  }
  // Once the last change is told.
  void EndSoon() {
    is_ending_ = true;
    if (!is_writing()) End(kGoing);
  }

 private:
  void Handle(const std::string& message) override {
    Request request;
    if (!request.ParseFromString(message)) return End(kMalformed);
    if (!MoveTo(service_.watches_)) return;
    name_ = request.service();
    std::lock_guard lock(service_.mutex_);
    service_.watchers_.insert(this);
    service_.has_ended_ ? EndSoon() : Tell();
  }
  void HandleEnd() override { End(kNoMessage); }
  void Written() override {
    std::lock_guard lock(service_.mutex_);
    Tell();
    if (is_ending_) EndSoon();
  }
  void Leave() override {
    std::lock_guard lock(service_.mutex_);
    service_.watchers_.erase(this);
  }

  HealthService& service_;

  // Guarded by the service's mutex.
  std::string name_;
  Response response_;
  bool has_told_ = false;
  bool is_ending_ = false;
};

HealthService::HealthService() : ByteService(*Request::descriptor()->file()->service(0)) {
  Register("Check", [this](grpc::CallbackServerContext* context) { return Begun<Checker>(*context, *this); });
  Register("Watch", [this](grpc::CallbackServerContext* context) { return Begun<Watcher>(*context, *this); });
  CheckComplete();
}

HealthService::Status HealthService::StatusOf(const std::string& name) const {
  const auto found = statuses_.find(name);
  return found == statuses_.end() ? Response::SERVICE_UNKNOWN : found->second;
}

void HealthService::Set(const std::string& name, Status status) {
  std::lock_guard lock(mutex_);
  statuses_[name] = status;
  for (Watcher* watcher : watchers_) watcher->Tell();
}

void HealthService::End() {
  std::lock_guard lock(mutex_);
  has_ended_ = true;
  for (Watcher* watcher : watchers_) watcher->EndSoon();
}

}  // namespace latentd
