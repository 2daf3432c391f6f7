// How a daemon is dialled, beside its address: the flags that all clients have in common.
#pragma once

#include <string>

#include "base/command_line.h"

namespace latentd {

struct Dialing {
  bool no_proxy = false;  // whatever the environment says
  std::string token;      // shown with each RPC; empty: that of LATENTD_TOKEN, or none
  // In PEM.
  std::string tls_ca;             // what vouches for the daemon; all empty: no TLS
  std::string tls_cert, tls_key;  // shown to it
};

// The token that is shown, empty where there is none. It is never printed.
std::string TokenOf(const Dialing& dialing);

// Files are read while the line is parsed; `dialing` gets their content.
void AddDialingFlags(Command command, Dialing& dialing);

}  // namespace latentd
