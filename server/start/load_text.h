// The texts' part of a model's directory: its tokenizer and its chat templates.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "server/api/served_model.h"
#include "server/config/config.h"

namespace latentd {

// Without a tokenizer token ids are served, and without a chat template everything but Chat: what is not there, or
// cannot be used, is a line each of the answer. An error keeps the daemon from starting.
absl::StatusOr<std::vector<std::string>> LoadText(const Config& config, ServedModel& served);

}  // namespace latentd
