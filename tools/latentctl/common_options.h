// What every subcommand of latentctl takes.
#pragma once

#include <string>

#include "tools/client/dialing.h"

namespace latentd {

struct CommonOptions {
  std::string server = "127.0.0.1:50051";
  std::string tenant;            // empty: none is named
  double timeout_seconds = 0.0;  // 0: none
  bool json = false;             // messages as JSON, one per line
  bool stats = false;            // tokens/s and time to first token, on stderr
  Dialing dialing = {};
};

}  // namespace latentd
