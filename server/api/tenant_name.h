// The tenant that a request counts for, as its client names it in metadata. Nothing proves the name: there are no
// credentials. Pure function.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd {

inline constexpr char kTenantKey[] = "x-latentd-tenant";

// INVALID_ARGUMENT where it is not 1 to 64 bytes of printable ASCII.
absl::StatusOr<std::string> ParseTenant(std::string_view text);

}  // namespace latentd
