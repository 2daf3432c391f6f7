// Between the daemon's configuration, the loader, which knows no protocol, and what the API says of the loaded model.
#pragma once

#include <absl/status/statusor.h>

#include "engine/load/load_model.h"
#include "engine/load/load_options.h"
#include "server/api/served_model.h"
#include "server/config/config.h"

namespace latentd {

// The knobs that loading depends on, and what the file of tenants says.
absl::StatusOr<LoadOptions> LoadOptionsOf(const Config& config);

// What the services see of `loaded`, whose text moves into it.
ServedModel TakeServedModel(const Config& config, LoadedModel& loaded);

}  // namespace latentd
