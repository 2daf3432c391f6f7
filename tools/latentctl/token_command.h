// latentctl token new: makes a bearer token and the line of it that the daemon's file of tokens takes.
#pragma once

#include <memory>

#include "base/command_line.h"

namespace latentd {

struct TokenFlags;

// The result holds what the flags are parsed into: it must live until the line is parsed. `code` gets the exit code.
std::shared_ptr<TokenFlags> AddTokenCommand(Command program, int& code);

}  // namespace latentd
