#include "server/admin/admin_endpoint.h"

#include <chrono>
#include <utility>

#include "server/process/descriptors.h"

namespace latentd {
namespace {

constexpr char kAdmin[] = "latentd.v1.Admin";
constexpr char kModels[] = "latentd.v1.Models";
constexpr std::chrono::milliseconds kLastStreams{50};  // for streams that are not ours, health watches, to end

bool IsReached(const ServingState::View& view) { return view.Accepts(ListenerKind::kAdmin); }
// While the server drains, too.
bool HasModel(const ServingState::View& view) { return IsReached(view) && view.stage != ServingState::Stage::kLoading; }
// As its own server tells it.
bool IsReady(const ServingState::View& view) { return view.is_ready(); }

}  // namespace

AdminEndpoint::AdminEndpoint(Parts parts)
    : load_(parts.metrics, parts.gate),
      egress_(1, FromSeconds(parts.config.slow_consumer_seconds)),
      admin_({.gate = parts.gate,
              .load = load_,
              .drain = parts.drain,
              .stop = parts.stop,
              .drain_seconds = parts.config.drain_seconds},
             parts.reception.AdminsPartsWith(egress_), std::move(parts.knobs)),
      models_(parts.gate, parts.reception.AdminsPartsWith(egress_)) {}

absl::StatusOr<std::unique_ptr<AdminEndpoint>> AdminEndpoint::Start(Parts parts) {
  const std::string listen = parts.config.admin_listen;
  const double slow_consumer_seconds = parts.config.slow_consumer_seconds;
  ServingState& state = parts.state;
  const Access access = parts.access;
  if (listen.empty()) return nullptr;
  std::unique_ptr<AdminEndpoint> endpoint(new AdminEndpoint(std::move(parts)));
  absl::StatusOr<std::unique_ptr<GrpcServer>> server = GrpcServer::Start(
      {.listen = listen,
       .flag = "--admin-listen",
       .state = state,
       .services = {&endpoint->admin_, &endpoint->models_},
       .service_names = {kAdmin, kModels},
       .health = {{"", &IsReached}, {kAdmin, &IsReached}, {kModels, &HasModel}, {"latentd.v1.Generation", &IsReady}},
       .kind = ListenerKind::kAdmin,
       .limits = LimitsOfAdmin(MaxDescriptors()),
       .authority = &access.authority,
       .certificates = access.certificates,
       .slow_consumer_seconds = slow_consumer_seconds});
  if (!server.ok()) return server.status();
  endpoint->server_ = *std::move(server);
  return endpoint;
}

void AdminEndpoint::Shutdown(TimePoint deadline) {
  egress_.AwaitEmpty(deadline);
  egress_.CutShort();
  server_->Shutdown(std::chrono::steady_clock::now() + kLastStreams);
  egress_.AwaitEmpty(kNever);
}

}  // namespace latentd
