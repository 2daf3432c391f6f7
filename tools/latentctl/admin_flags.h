// The part of latentctl's command line that is for operators.
#pragma once

#include <memory>

#include "base/command_line.h"

namespace latentd {

struct AdminFlags;

// The result holds what the flags are parsed into: it must live until the line is parsed. `code` gets the exit code of
// the command that ran.
std::shared_ptr<AdminFlags> AddAdminCommands(Command program, int& code);

}  // namespace latentd
