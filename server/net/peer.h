// Whose an RPC is: bounds and turns go by addresses first, of which a client has few, and then by the connections of
// each, of which it has as many as it likes.
#pragma once

#include <compare>
#include <cstddef>
#include <string>

#include <sys/socket.h>

namespace latentd {

struct Peer {
  Peer() = default;
  // As gRPC names it, readably: "ipv4:127.0.0.1:50312", "ipv6:[::1]:50312"; all of a unix socket are "unix:".
  Peer(std::string name);  // NOLINT(google-explicit-constructor)
  Peer(const char* name) : Peer(std::string(name)) {}

  std::string address;     // one IPv4 address, one /64 of IPv6, or the whole name where it has neither
  std::string connection;  // the whole name
};

// How much a peer has of what is bounded: places, entries or bytes. The one that has most gives way first: of the
// address that has most, the connection that does.
struct Holding {
  size_t of_address = 0;
  size_t of_connection = 0;
  auto operator<=>(const Holding&) const = default;
};
struct Claimant {
  const Peer& peer;
  Holding holding;
};
// Whether `holder`, which has most, is to give way to a newcomer that takes `amount`: it has more than the newcomer
// would then have, as an address, or as a connection where both are of one address.
bool GivesWay(const Claimant& holder, const Claimant& newcomer, size_t amount);

// The other end of a socket: its address as above, "" for a unix socket, and the name that gRPC gives to it.
std::string AddressOfPeer(const sockaddr_storage& peer);
std::string NameOfPeer(const sockaddr_storage& peer);

}  // namespace latentd
