#include "server/start/exposure.h"

#include <utility>

#include <absl/strings/str_format.h>

namespace latentd {

std::vector<std::string> ExposureWarnings(const BoundAddresses& bound) {
  std::vector<std::string> warnings;
  if (bound.admin && !bound.admin->is_loopback()) {
    warnings.push_back(absl::StrFormat(
        "admin-listen: %s is beyond loopback, without TLS or authentication: any client there can read and end every "
        "request and stop the daemon; bind it to loopback, a unix socket or a private network",
        bound.admin->ToString()));
  }
  if (!bound.grpc.is_loopback()) {
    warnings.push_back(absl::StrFormat(
        "listen: %s is beyond loopback, without TLS or authentication: any client there can use the model",
        bound.grpc.ToString()));
  }
  if (!bound.metrics.is_loopback()) {
    warnings.push_back(absl::StrFormat("metrics-listen: %s is beyond loopback: any client there can read the metrics",
                                       bound.metrics.ToString()));
  }
  for (const auto& [knob, address] :
       {std::pair("kv-events-listen", bound.kv_events), std::pair("kv-events-replay-listen", bound.kv_events_replay)}) {
    if (!address || address->is_loopback()) continue;
    warnings.push_back(absl::StrFormat(
        "%s: %s is beyond loopback, without TLS or authentication: any client there can read the token ids of cached "
        "prompts",
        knob, address->ToString()));
  }
  return warnings;
}

}  // namespace latentd
