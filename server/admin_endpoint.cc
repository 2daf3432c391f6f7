#include "server/admin_endpoint.h"

#include <chrono>
#include <utility>

#include "server/descriptors.h"

namespace latentd {
namespace {

constexpr char kGeneration[] = "latentd.v1.Generation";
constexpr char kModels[] = "latentd.v1.Models";
constexpr std::chrono::milliseconds kLastStreams{500};  // for streams that are not ours, health watches, to end

}  // namespace

AdminEndpoint::AdminEndpoint(Parts parts)
    : drain_(parts.drain),
      load_(parts.metrics, parts.gate),
      egress_(1, FromSeconds(parts.config.slow_consumer_seconds)),
      admin_({.gate = parts.gate,
              .load = load_,
              .drain = parts.drain,
              .stop = parts.stop,
              .drain_seconds = parts.config.drain_seconds},
             parts.reception.PartsWith(egress_), std::move(parts.knobs)),
      models_(parts.gate, parts.reception.PartsWith(egress_)) {}

absl::StatusOr<std::unique_ptr<AdminEndpoint>> AdminEndpoint::Start(Parts parts) {
  const std::string listen = parts.config.admin_listen;
  const double slow_consumer_seconds = parts.config.slow_consumer_seconds;
  if (listen.empty()) return nullptr;
  std::unique_ptr<AdminEndpoint> endpoint(new AdminEndpoint(std::move(parts)));
  absl::StatusOr<std::unique_ptr<GrpcServer>> server =
      GrpcServer::Start({.listen = listen,
                         .flag = "--admin-listen",
                         .services = {&endpoint->admin_, &endpoint->models_},
                         .service_names = {"latentd.v1.Admin", kModels},
                         .health_names = {kGeneration},
                         .kind = ListenerKind::kAdmin,
                         .limits = LimitsOfAdmin(MaxDescriptors()),
                         .slow_consumer_seconds = slow_consumer_seconds});
  if (!server.ok()) return server.status();
  endpoint->server_ = *std::move(server);
  endpoint->SetHealth(GrpcServer::Health::kLoading);
  return endpoint;
}

void AdminEndpoint::SetHealth(GrpcServer::Health health) {
  std::lock_guard lock(health_mutex_);
  const bool is_draining = drain_.stage() != DrainState::Stage::kServing;
  server_->SetHealthOf(kGeneration, is_draining ? GrpcServer::Health::kDraining : health);
  // Answers while the server drains, too.
  const bool is_loading = health == GrpcServer::Health::kLoading;
  server_->SetHealthOf(kModels, is_loading ? GrpcServer::Health::kLoading : GrpcServer::Health::kServing);
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
