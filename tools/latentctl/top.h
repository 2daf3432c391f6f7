// latentctl top: the load of a daemon, live. On a terminal a screen of its own that ends with Ctrl-C and leaves what
// was there before; else one plain snapshot per interval.
#pragma once

#include <cstdint>

#include "tools/latentctl/admin_commands.h"

namespace latentd {

struct TopOptions {
  AdminOptions admin;
  double interval_seconds = 1.0;
  uint32_t count = 0;  // snapshots; 0: until interrupted
};

int Top(const TopOptions& options);

}  // namespace latentd
