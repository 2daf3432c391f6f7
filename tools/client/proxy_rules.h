// Which addresses are reached without a proxy. gRPC takes one from grpc_proxy, https_proxy or http_proxy for whatever
// it dials, loopback included, and knows neither NO_PROXY in capitals nor networks in it. Pure functions.
#pragma once

#include <string_view>

#include "server/net/address.h"

namespace latentd {

// True of unix sockets and loopback (127.0.0.0/8, ::1, localhost and names below it; the wildcards, which lead there),
// and of what `no_proxy` names: a list with commas of "*", host names with all names below them, with or without a dot
// before them, IP addresses and networks ("10.0.0.0/8", "fd00::/8"), each perhaps with ":PORT" behind it, IPv6 then in
// brackets.
bool GoesWithoutProxy(const Address& address, std::string_view no_proxy);

}  // namespace latentd
