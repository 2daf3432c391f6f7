// Whether each address that the daemon is to listen on is free. A port is bound for a moment, a path only looked at.
#pragma once

#include "server/config/config.h"
#include "tools/doctor/finding.h"

namespace latentd {

void CheckListeners(const Config& config, Findings& findings);

}  // namespace latentd
