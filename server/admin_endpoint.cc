#include "server/admin_endpoint.h"

#include <chrono>
#include <utility>

namespace latentd {
namespace {

constexpr char kGeneration[] = "latentd.v1.Generation";
constexpr std::chrono::milliseconds kLastStreams{500};  // for streams that are not ours, health watches, to end

}  // namespace

AdminEndpoint::AdminEndpoint(Parts parts)
    : drain_(parts.drain),
      load_(parts.metrics, parts.live),
      egress_(1),
      admin_({.live = parts.live,
              .metrics = parts.metrics,
              .load = load_,
              .drain = parts.drain,
              .stop = parts.stop,
              .egress = egress_,
              .drain_seconds = parts.config.drain_seconds},
             std::move(parts.knobs)),
      models_(parts.model, parts.metrics) {}

absl::StatusOr<std::unique_ptr<AdminEndpoint>> AdminEndpoint::Start(Parts parts) {
  const std::string listen = parts.config.admin_listen;
  if (listen.empty()) return nullptr;
  std::unique_ptr<AdminEndpoint> endpoint(new AdminEndpoint(std::move(parts)));
  absl::StatusOr<std::unique_ptr<GrpcServer>> server =
      GrpcServer::Start({.listen = listen,
                         .flag = "--admin-listen",
                         .services = {&endpoint->admin_, &endpoint->models_},
                         .health_names = {"latentd.v1.Admin", "latentd.v1.Models", kGeneration}});
  if (!server.ok()) return server.status();
  endpoint->server_ = *std::move(server);
  return endpoint;
}

void AdminEndpoint::SetHealth(GrpcServer::Health health) {
  std::lock_guard lock(health_mutex_);
  const bool is_draining = drain_.stage() != DrainState::Stage::kServing;
  server_->SetHealthOf(kGeneration, is_draining ? GrpcServer::Health::kDraining : health);
}

void AdminEndpoint::DrainMovedOn() {
  SetHealth(GrpcServer::Health::kDraining);
  admin_.WakeStreams();
}

void AdminEndpoint::Shutdown(TimePoint deadline) {
  egress_.AwaitEmpty(deadline);
  server_->Shutdown(std::chrono::steady_clock::now() + kLastStreams);
  egress_.AwaitEmpty(kNever);
}

}  // namespace latentd
