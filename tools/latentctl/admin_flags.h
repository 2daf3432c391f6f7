// The part of latentctl's command line that is for operators.
#pragma once

#include <memory>

#include <CLI/CLI.hpp>

namespace latentd {

struct AdminFlags;

// The result holds what the flags are parsed into: it must live until `app` has parsed. `code` gets the exit code of
// the command that ran.
std::shared_ptr<AdminFlags> AddAdminCommands(CLI::App& app, int& code);

}  // namespace latentd
