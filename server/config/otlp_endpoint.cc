#include "server/config/otlp_endpoint.h"

#include <string>

#include <absl/strings/str_cat.h>

namespace latentd {

absl::StatusOr<OtlpEndpoint> ParseOtlpEndpoint(std::string_view text) {
  constexpr std::string_view kPlain = "http://", kTls = "https://";
  const bool has_tls = text.starts_with(kTls);
  const bool has_scheme = has_tls || text.starts_with(kPlain);
  if (has_scheme) text.remove_prefix(has_tls ? kTls.size() : kPlain.size());
  if (has_scheme && text.ends_with('/')) text.remove_suffix(1);
  absl::StatusOr<Address> address = ParseAddress(text, AddressUse::kGrpcClient);
  if (address.ok()) return OtlpEndpoint{.address = *std::move(address), .has_tls = has_tls};
  return absl::InvalidArgumentError(absl::StrCat("otlp-endpoint: ", std::string(address.status().message())));
}

}  // namespace latentd
