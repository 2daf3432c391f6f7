// How many files and connections the process may have open at a time, and how connections share that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "server/config/config.h"
#include "server/net/connection_table.h"

namespace latentd {

// Raises the soft limit to the hard one, which costs nothing: programs that use select(2) are why the soft one is low.
// To be called first, before anything is open.
void RaiseDescriptorLimit();
// RESOURCE_EXHAUSTED where the limit leaves too few to start with.
absl::Status CheckDescriptors();
int64_t MaxDescriptors();

// From `max_descriptors` and the knobs. A part is left to files, metrics and the Admin service.
ConnectionLimits LimitsOfApi(const Config& config, int64_t max_descriptors);
// Warnings for knobs that ask for more than that.
std::vector<std::string> ConnectionWarnings(const Config& config, int64_t max_descriptors);
ConnectionLimits LimitsOfAdmin(int64_t max_descriptors);

}  // namespace latentd
