// The --tenants file: TOML with a [[tenant]] for each name, and a [default] for all others.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "engine/schedule/tenant_rules.h"

namespace latentd {

// No path: no names, and the rule that a TenantRule has by default for all. An error is one line that begins with the
// file and, where there is one, the line.
absl::StatusOr<TenantRules> ReadTenantsFile(const std::string& path);

}  // namespace latentd
