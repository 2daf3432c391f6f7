// The configuration, and the files beside the model that it names. Nothing is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/config/parse_config.h"
#include "tools/doctor/finding.h"

namespace latentd {

// By the daemon's own parser, from its flags and its environment. Nothing where it refuses them, which `findings` say.
std::optional<ParsedConfig> CheckConfig(const std::vector<std::string>& flags, const Environment& environment,
                                        Findings& findings);

// Whether the daemon can write what it is asked to write.
void CheckWrittenFiles(const Config& config, Findings& findings);

}  // namespace latentd
