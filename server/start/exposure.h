// A warning about listeners that other machines can reach and that ask for no credential. Pure function.
#pragma once

#include <string>

#include "server/start/port_file.h"

namespace latentd {

// Which listeners ask for credentials; the others can't.
struct GuardedListeners {
  bool grpc = false;
  bool metrics = false;
};

// One line for all that are open; empty where there are none.
std::string ExposureWarning(const BoundAddresses& bound, const GuardedListeners& guarded);

}  // namespace latentd
