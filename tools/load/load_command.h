// `latentctl load`: sends a load to a daemon and measures it from the client's side.
#pragma once

#include "base/command_line.h"
#include "tools/load/load_options.h"

namespace latentd {

// 0: all requests ended as planned and all checks passed; 1: some did not, or the run could not be made; 2: the client
// lagged behind its schedule, so the figures are not the server's.
int Load(LoadOptions options);

// The subcommand with its flags; `code` is set when it runs.
void AddLoadCommand(Command program, int& code);

}  // namespace latentd
