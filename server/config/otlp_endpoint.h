// Where traces go, as --otlp-endpoint and OpenTelemetry's own variables write it. A pure function.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>

#include "server/net/address.h"

namespace latentd {

struct OtlpEndpoint {
  Address address;
  bool has_tls = false;
};

// http:// and https:// before an address and a slash behind it, which both may be left out: http then.
// INVALID_ARGUMENT, beginning with the knob's name.
absl::StatusOr<OtlpEndpoint> ParseOtlpEndpoint(std::string_view text);

}  // namespace latentd
