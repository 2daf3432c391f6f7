#include "server/exposure.h"

#include <absl/strings/str_format.h>

#include "server/address.h"

namespace latentd {

std::vector<std::string> ExposureWarnings(const BoundAddresses& bound) {
  std::vector<std::string> warnings;
  const auto is_exposed = [](const std::string& listener, AddressUse use) {
    const absl::StatusOr<Address> address = ParseAddress(listener, use);
    return address.ok() && !address->is_loopback();
  };
  if (is_exposed(bound.admin, AddressUse::kGrpcListener)) {
    warnings.push_back(absl::StrFormat(
        "admin-listen: %s is beyond loopback, without TLS or authentication: whoever reaches it can read and end every "
        "request and stop the daemon; bind it to loopback, a unix socket or a private network",
        bound.admin));
  }
  if (is_exposed(bound.grpc, AddressUse::kGrpcListener)) {
    warnings.push_back(absl::StrFormat(
        "listen: %s is beyond loopback, without TLS or authentication: whoever reaches it can use the model",
        bound.grpc));
  }
  if (is_exposed(bound.metrics, AddressUse::kHttpListener)) {
    warnings.push_back(absl::StrFormat("metrics-listen: %s is beyond loopback: whoever reaches it can read the metrics",
                                       bound.metrics));
  }
  return warnings;
}

}  // namespace latentd
