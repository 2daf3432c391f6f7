// The process that holds a socket, as far as /proc tells this user.
#pragma once

#include <filesystem>
#include <string>

#include "server/net/address.h"

namespace latentd {

struct PortHolder {
  std::string name;  // of the program; empty: not to be found, as with another user's processes
  int pid = 0;
};

// The one that listens at this port or path. `root` stands before /proc, for tests.
PortHolder FindPortHolder(const Address& address, const std::filesystem::path& root);

}  // namespace latentd
