// `latentctl load` is a program of its own, latentctl-load beside latentctl, so that a build of latentctl needs no load
// client. Call it first in main: it replaces the process.
#pragma once

namespace latentd {

// Whether the line begins with the command load.
bool NamesLoad(int argc, const char* const* argv);

// Becomes latentctl-load with the same arguments. Returns only where that program can't be run: the exit code.
int RunLoadProgram(char* const* argv);

}  // namespace latentd
