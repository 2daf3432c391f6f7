// latentctl profile: the daemon's next steps by op, as a Chrome trace.
#pragma once

#include <cstdint>
#include <string>

#include "tools/latentctl/admin_commands.h"

namespace latentd {

struct ProfileOptions {
  AdminOptions admin;
  uint32_t steps = 10;
  std::string output;  // where the trace goes; empty: standard output
};

// The exit code.
int SaveProfile(const ProfileOptions& options);

}  // namespace latentd
