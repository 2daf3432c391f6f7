// `latentctl load` and `latentctl doctor` are programs of their own, latentctl-load and latentctl-doctor beside
// latentctl, so that a build of latentctl needs neither a load client nor the loader of models. Call it first in main:
// it replaces the process.
#pragma once

#include <string_view>

#include "tools/load/load_help.h"

namespace latentd {

struct ProgramBeside {
  std::string_view command;
  std::string_view help;  // one line
  std::string_view what;  // it is, in an error
};
inline constexpr ProgramBeside kProgramsBeside[] = {
    {kLoadCommand, kLoadHelp, "load client"},
    {"doctor", "Look at what a daemon would find here: configuration, model, machine", "doctor"},
};

// The one that the line begins with; null: none.
const ProgramBeside* FindProgramBeside(int argc, const char* const* argv);

// Becomes that program with the same arguments. Returns only where it can't be run: the exit code.
int RunProgramBeside(const ProgramBeside& program, char* const* argv);

}  // namespace latentd
