// What the API says of the loaded model.
#pragma once

#include <string>
#include <vector>

#include "engine/load/load_model.h"
#include "server/api/served_model.h"
#include "server/config/config.h"

namespace latentd {

// What the model is called in answers and metrics, and after that its aliases.
std::vector<std::string> NamesOf(const Config& config);

// What the services see of `loaded`, whose text moves into it.
ServedModel TakeServedModel(const Config& config, LoadedModel& loaded);

}  // namespace latentd
