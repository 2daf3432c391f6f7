// The one way to name an address, for every listener, every client and the port file: HOST:PORT with an IPv4 address or
// a host name, [IPV6]:PORT, and for gRPC unix:/PATH. Whatever else a resolver would make something of ("0:0", "*:80",
// "::1:80", "127.1:80") is refused, so that a text means the same to the daemon and to each client. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd {

struct Address {
  enum class Kind { kIpv4, kIpv6, kName, kUnix };

  Kind kind = Kind::kIpv4;
  std::string host;  // without brackets, an IP address in its canonical form; of a unix socket: its path
  int port = 0;      // none of a unix socket

  bool operator==(const Address&) const = default;
  // As ParseAddress takes it.
  std::string ToString() const;
  // Every address of the machine: 0.0.0.0 or [::].
  bool is_wildcard() const;
  // Out of reach for other machines. A name is not looked up: only "localhost" is known.
  bool is_loopback() const;
};

enum class AddressUse {
  kGrpcListener,  // port 0: a free one
  kHttpListener,
  kGrpcClient,
  kHttpClient,
};
constexpr bool TakesUnixSockets(AddressUse use) {
  return use == AddressUse::kGrpcListener || use == AddressUse::kGrpcClient;
}

// INVALID_ARGUMENT with what was expected and found.
absl::StatusOr<Address> ParseAddress(std::string_view text, AddressUse use);

// tcp://HOST:PORT or tcp://[IPV6]:PORT, as ZeroMQ names what it listens on; port 0: a free one.
absl::StatusOr<Address> ParseTcpListener(std::string_view text);

// The address that a client on this machine dials to reach a listener bound to `bound`: loopback for a wildcard.
Address AddressToDial(const Address& bound);

}  // namespace latentd
