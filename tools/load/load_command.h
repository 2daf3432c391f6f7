// `latentctl load`: sends a load to a daemon and measures it from the client's side.
#pragma once

#include "base/command_line.h"
#include "tools/load/load_options.h"
#include "tools/load/sweep.h"

namespace latentd {

// 0: all requests ended as planned and all checks passed; 1: some did not, or the run could not be made; 2: the client
// lagged behind its schedule, so the figures are not the server's.
int Load(LoadOptions options);

// A run at each level that the sweep asks for. 0: all could be made; 1: one could not.
int Sweep(LoadOptions options, const SweepOptions& sweep);

// The subcommand with its flags and its own subcommands; `code` is set when one runs.
void AddLoadCommand(Command program, int& code);

}  // namespace latentd
