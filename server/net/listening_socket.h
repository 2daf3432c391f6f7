// A socket that listens: opened with the system's own reason where that fails, closed with this object. The acceptor
// owns it and stops before it goes. A socket file is removed with it.
//
// [::] takes IPv4 connections, too, and is 0.0.0.0 on a machine whose kernel has no IPv6; any other address is bound as
// it stands. A host name is looked up once and its first address bound, IPv4 before IPv6. An address in TIME_WAIT is
// free, one that another process listens on never is. A socket file without a listener is replaced, other files never.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>
#include <sys/types.h>

#include "server/net/address.h"

namespace latentd {

// The error of an Accept that leaves the connection waiting until a descriptor is closed elsewhere.
bool IsLackOfResources(int error);

class ListeningSocket {
 public:
  // `flag` chose the address, "--listen": the message names it. Does not block, is closed on exec.
  static absl::StatusOr<ListeningSocket> Open(const Address& address, std::string_view flag);
  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  int descriptor() const { return descriptor_; }
  // The next connection, which does not block either; negative where there is none, and errno tells why.
  int Accept() const;
  const Address& address() const { return address_; }  // with the port that was bound, a name as its IP address

 private:
  ListeningSocket(int descriptor, Address address);

  int descriptor_;
  Address address_;
  dev_t device_ = 0;  // of the socket file, which may be another's by the time this ends
  ino_t inode_ = 0;
};

}  // namespace latentd
