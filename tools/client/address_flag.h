// A flag that names an address: checked while the command line is parsed, so that a malformed one is a line that says
// what was expected and not a connection that never comes about.
#pragma once

#include <string>

#include "base/command_line.h"
#include "server/net/address.h"

namespace latentd {

// `address` gets the canonical form, which gRPC's and HTTP clients take.
Flag AddressFlag(const std::string& name, std::string& address, AddressUse use);

}  // namespace latentd
