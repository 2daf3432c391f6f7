#include "server/start/listeners.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>

#include "base/now.h"
#include "server/config/knobs.h"
#include "server/process/descriptors.h"
#include "server/start/describe_model.h"

namespace latentd {
namespace {

// Null where they are off.
absl::StatusOr<std::unique_ptr<KvEventsPublisher>> BindKvEvents(const Config& config, Metrics& metrics) {
  if (config.kv_events_listen.empty()) return nullptr;
  const bool has_topic = !config.kv_events_topic.empty();
  return KvEventsPublisher::Bind({.listen = config.kv_events_listen,
                                  .replay_listen = config.kv_events_replay_listen,
                                  .topic = has_topic ? config.kv_events_topic : KvEventsTopic(NamesOf(config).front())},
                                 metrics);
}

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

absl::StatusOr<std::unique_ptr<Listeners>> Listeners::Start(const std::vector<NamedService>& services,
                                                            AdminEndpoint::Parts admin_parts) {
  const Config& config = admin_parts.config;
  std::unique_ptr<Listeners> listeners(new Listeners);
  absl::StatusOr<std::unique_ptr<MetricsExporter>> metrics =
      MetricsExporter::Start(config.metrics_listen,
                             {.metrics = admin_parts.metrics,
                              .state = admin_parts.state,
                              .access = admin_parts.access,
                              .compat = {.has_vllm = config.metrics_compat == "vllm",
                                         .served_name = NamesOf(config).front()}});
  if (!metrics.ok()) return metrics.status();
  listeners->metrics_ = *std::move(metrics);
  GrpcServer::Endpoint endpoint{.listen = config.listen,
                                .flag = "--listen",
                                .state = admin_parts.state,
                                .health = {{"", &IsReady}},
                                .limits = LimitsOfApi(config, MaxDescriptors()),
                                .authority = &admin_parts.access.authority,
                                .certificates = admin_parts.access.certificates,
                                .slow_consumer_seconds = config.slow_consumer_seconds};
  for (const NamedService& each : services) {
    endpoint.services.push_back(&each.service);
    endpoint.service_names.push_back(each.name);
    endpoint.health.push_back({each.name, &IsReady});
  }
  absl::StatusOr<std::unique_ptr<GrpcServer>> api = GrpcServer::Start(endpoint);
  if (!api.ok()) return api.status();
  listeners->api_ = *std::move(api);
  absl::StatusOr<std::unique_ptr<KvEventsPublisher>> kv_events = BindKvEvents(config, admin_parts.metrics);
  if (!kv_events.ok()) return kv_events.status();
  listeners->kv_events_ = *std::move(kv_events);
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

void Listeners::Publish(KvEventSource events) {
  if (kv_events_ != nullptr) kv_events_->Serve(std::move(events));
}

void Listeners::DrainMovedOn() {
  if (admin_ != nullptr) admin_->DrainMovedOn();
}

void Listeners::ShutDownApi(TimePoint deadline) { api_->Shutdown(deadline); }

void Listeners::ShutDownAdmin(TimePoint deadline) {
  if (admin_ != nullptr) admin_->Shutdown(deadline);
}

BoundAddresses Listeners::addresses() const {
  BoundAddresses bound{.grpc = api_->address(), .metrics = metrics_->address()};
  if (admin_ != nullptr) bound.admin = admin_->address();
  if (kv_events_ != nullptr) {
    bound.kv_events = kv_events_->address();
    bound.kv_events_replay = kv_events_->replay_address();
  }
  return bound;
}

BoundAddresses Listeners::addresses_to_dial() const {
  BoundAddresses bound = addresses();
  bound.grpc = AddressToDial(bound.grpc);
  bound.metrics = AddressToDial(bound.metrics);
  for (std::optional<Address>* address : {&bound.admin, &bound.kv_events, &bound.kv_events_replay}) {
    if (*address) *address = AddressToDial(**address);
  }
  return bound;
}

std::string Listeners::Text() const {
  const BoundAddresses bound = addresses();
  const std::string admin = bound.admin ? "admin on " + bound.admin->ToString() : "admin off";
  std::string text =
      absl::StrFormat("%s, metrics on http://%s/metrics, %s", bound.grpc.ToString(), bound.metrics.ToString(), admin);
  if (bound.kv_events) absl::StrAppend(&text, ", KV events on tcp://", bound.kv_events->ToString());
  if (bound.kv_events_replay) absl::StrAppend(&text, ", repeated on tcp://", bound.kv_events_replay->ToString());
  return text;
}

}  // namespace latentd
