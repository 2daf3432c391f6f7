// What of the daemon's configuration a model is loaded with.
#pragma once

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"
#include "server/config/config.h"

namespace latentd {

// The knobs that loading depends on, and what the file of tenants says.
absl::StatusOr<LoadOptions> LoadOptionsOf(const Config& config);

}  // namespace latentd
