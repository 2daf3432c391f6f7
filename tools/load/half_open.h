// Connections whose peer sent half a request and then neither sends nor reads: what is left of a client that was
// stopped or cut off. They stand until they are closed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <absl/status/status.h>

namespace latentd {

class HalfOpenPeers {
 public:
  HalfOpenPeers() = default;
  ~HalfOpenPeers() { Close(); }
  HalfOpenPeers(const HalfOpenPeers&) = delete;
  HalfOpenPeers& operator=(const HalfOpenPeers&) = delete;

  // `server` is an address as ParseAddress takes it.
  absl::Status Open(const std::string& server, int count);
  void Close();
  size_t num_open() const { return sockets_.size(); }
  // How many of them the server has closed by now.
  size_t NumClosedByServer() const;

 private:
  std::vector<int> sockets_;
};

}  // namespace latentd
