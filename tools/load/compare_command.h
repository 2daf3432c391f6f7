// The command line of `latentctl load compare`.
#pragma once

#include "base/command_line.h"

namespace latentd {

// `code` is set when it runs. 0: each gate holds; 1: one does not, or there is nothing to compare; 2: a run is INVALID.
Command AddCompareCommand(Command load, int& code);

}  // namespace latentd
