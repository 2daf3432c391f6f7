// The model's directory, what computes with it, and the memory that both take: as far as the daemon goes before it
// reads a weight.
#pragma once

#include "server/config/config.h"
#include "tools/doctor/finding.h"

namespace latentd {

// A later check is left out where an earlier one finds nothing to go on with.
void CheckModel(const Config& config, Findings& findings);

}  // namespace latentd
