#include "server/health_service.h"

#include <utility>

namespace latentd {
namespace {

const grpc::Status kTooMany(grpc::StatusCode::RESOURCE_EXHAUSTED,
                            "too many watches of health are open; close some, or use Check");
const grpc::Status kGoing(grpc::StatusCode::UNAVAILABLE, "the server is shutting down");

}  // namespace

// One Watch, with at most one write in flight: what changed twice meanwhile is told once. Deletes itself.
class HealthService::Watcher final : public grpc::ServerWriteReactor<Response> {
 public:
  Watcher(HealthService& service, std::string name) : service_(service), name_(std::move(name)) {}

  // Each with the service's mutex held.
  void Tell() {
    if (is_over_ || is_writing_) return;
    const Status status = service_.StatusOf(name_);
    if (has_told_ && status == response_.status()) return;
    response_.set_status(status);
    has_told_ = is_writing_ = true;
    StartWrite(&response_);
  }
  void End(const grpc::Status& status) {
    if (std::exchange(is_over_, true)) return;
    Finish(status);
  }
  // Once the last change is told.
  void EndSoon() {
    is_ending_ = true;
    if (!is_writing_) End(kGoing);
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(service_.mutex_);
    is_writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    Tell();
    if (is_ending_) EndSoon();
  }
  void OnCancel() override {
    std::lock_guard lock(service_.mutex_);
    End(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    {
      std::lock_guard lock(service_.mutex_);
      service_.watchers_.erase(this);
    }
    service_.places_.GiveBack();
    delete this;
  }

 private:
  HealthService& service_;
  const std::string name_;
  Response response_;
  bool has_told_ = false;
  bool is_writing_ = false;
  bool is_ending_ = false;
  bool is_over_ = false;
};

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

grpc::ServerUnaryReactor* HealthService::Check(Context* context, const Request* request, Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::lock_guard lock(mutex_);
  const Status status = StatusOf(request->service());
  response->set_status(status);
  reactor->Finish(status == Response::SERVICE_UNKNOWN
                      ? grpc::Status(grpc::StatusCode::NOT_FOUND, "no service of this server has this name")
                      : grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<HealthService::Response>* HealthService::Watch(Context* /*context*/, const Request* request) {
  if (!places_.Take()) return new RefusedStream<grpc::ServerWriteReactor<Response>>(kTooMany);
  auto* watcher = new Watcher(*this, request->service());
  std::lock_guard lock(mutex_);
  watchers_.insert(watcher);
  if (has_ended_) {
    watcher->End(kGoing);
  } else {
    watcher->Tell();
  }
  return watcher;
}

}  // namespace latentd
