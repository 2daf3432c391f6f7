#include "server/start/listeners.h"

#include <utility>

#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>

#include "base/now.h"
#include "server/config/knobs.h"
#include "server/process/descriptors.h"

namespace latentd {
namespace {

constexpr char kGeneration[] = "latentd.v1.Generation";
constexpr char kModels[] = "latentd.v1.Models";

bool IsReady(const ServingState::View& view) { return view.is_ready(); }

// The engine's knobs as they ended up, in the spelling of labels.
std::vector<std::pair<std::string, std::string>> ConfigLabels(const std::vector<KnobValue>& knobs) {
  std::vector<std::pair<std::string, std::string>> labels;
  for (size_t i = 0; i < knobs.size(); ++i) {
    if (AllKnobs()[i].group != kEngineKnobs || knobs[i].name == "model") continue;
    labels.emplace_back(absl::StrReplaceAll(knobs[i].name, {{"-", "_"}}), knobs[i].value);
  }
  return labels;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listeners>> Listeners::Start(const std::vector<grpc::Service*>& services,
                                                            AdminEndpoint::Parts admin_parts) {
  const Config& config = admin_parts.config;
  std::unique_ptr<Listeners> listeners(new Listeners);
  absl::StatusOr<std::unique_ptr<MetricsExporter>> metrics =
      MetricsExporter::Start(config.metrics_listen, admin_parts.metrics, admin_parts.state);
  if (!metrics.ok()) return metrics.status();
  listeners->metrics_ = *std::move(metrics);
  absl::StatusOr<std::unique_ptr<GrpcServer>> api =
      GrpcServer::Start({.listen = config.listen,
                         .flag = "--listen",
                         .state = admin_parts.state,
                         .services = services,
                         .service_names = {kGeneration, kModels},
                         .health = {{"", &IsReady}, {kGeneration, &IsReady}, {kModels, &IsReady}},
                         .limits = LimitsOfApi(config, MaxDescriptors()),
                         .slow_consumer_seconds = config.slow_consumer_seconds});
  if (!api.ok()) return api.status();
  listeners->api_ = *std::move(api);
  absl::StatusOr<std::unique_ptr<AdminEndpoint>> admin = AdminEndpoint::Start(std::move(admin_parts));
  if (!admin.ok()) return admin.status();
  listeners->admin_ = *std::move(admin);
  return listeners;
}

Listeners::~Listeners() {
  if (api_ != nullptr) ShutDownApi(Now());
  ShutDownAdmin(Now());
}

void Listeners::Describe(const LoadedModel& loaded, const v1::Model& description, const std::vector<KnobValue>& knobs) {
  metrics_->SetFacts({.model = description,
                      .kv_bytes = static_cast<uint64_t>(loaded.model->cache_bytes()),
                      .config = ConfigLabels(knobs)});
  if (admin_ != nullptr) admin_->Resolve(loaded.derived);
}

void Listeners::DrainMovedOn() {
  if (admin_ != nullptr) admin_->DrainMovedOn();
}

void Listeners::ShutDownApi(TimePoint deadline) { api_->Shutdown(deadline); }

void Listeners::ShutDownAdmin(TimePoint deadline) {
  if (admin_ != nullptr) admin_->Shutdown(deadline);
}

BoundAddresses Listeners::addresses() const {
  BoundAddresses bound{.grpc = api_->address(), .metrics = metrics_->address(), .admin = std::nullopt};
  if (admin_ != nullptr) bound.admin = admin_->address();
  return bound;
}

BoundAddresses Listeners::addresses_to_dial() const {
  BoundAddresses bound = addresses();
  bound.grpc = AddressToDial(bound.grpc);
  bound.metrics = AddressToDial(bound.metrics);
  if (bound.admin) bound.admin = AddressToDial(*bound.admin);
  return bound;
}

std::string Listeners::Text() const {
  const BoundAddresses bound = addresses();
  return absl::StrFormat("%s, metrics on http://%s/metrics, %s", bound.grpc.ToString(), bound.metrics.ToString(),
                         bound.admin ? "admin on " + bound.admin->ToString() : "admin off");
}

}  // namespace latentd
