// What the API says of the loaded model.
#pragma once

#include "engine/load/load_model.h"
#include "server/api/served_model.h"
#include "server/config/config.h"

namespace latentd {

// What the services see of `loaded`, whose text moves into it.
ServedModel TakeServedModel(const Config& config, LoadedModel& loaded);

}  // namespace latentd
