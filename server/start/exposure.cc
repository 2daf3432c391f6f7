#include "server/start/exposure.h"

#include <optional>
#include <vector>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

namespace latentd {

std::string ExposureWarning(const BoundAddresses& bound, const GuardedListeners& guarded) {
  std::vector<std::string> exposed;
  const auto look = [&exposed](const char* knob, const std::optional<Address>& address, const char* what) {
    if (!address || address->is_loopback()) return;
    exposed.push_back(absl::StrFormat("any client can %s (%s: %s)", what, knob, address->ToString()));
  };
  if (!guarded.grpc) look("listen", bound.grpc, "use the model");
  if (!guarded.metrics) look("metrics-listen", bound.metrics, "read the metrics");
  look("kv-events-listen", bound.kv_events, "read the token ids of cached prompts");
  look("kv-events-replay-listen", bound.kv_events_replay, "read those of earlier ones");
  if (exposed.empty()) return "";
  return absl::StrFormat("insecure: without credentials, %s", absl::StrJoin(exposed, ", "));
}

}  // namespace latentd
