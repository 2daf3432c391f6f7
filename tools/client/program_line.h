// The command line that latentctl and latentctl-load share: the same name, version and words for what is wrong.
#pragma once

#include "base/command_line.h"

namespace latentd {

CommandLine LatentctlLine();

// Parses the line and prints help, version or what is wrong. `code` is what the callbacks of commands set. Returns the
// program's exit code; nothing can be written to standard output after it.
int FinishLatentctl(CommandLine& line, int argc, const char* const* argv, const int& code);

}  // namespace latentd
