#include "tools/load/half_open.h"

#include <cerrno>
#include <cstring>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/address.h"

namespace latentd {
namespace {

// RFC 9113: the client's preface, an empty SETTINGS frame.
constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
constexpr size_t kPrefaceBytes = sizeof(kPreface) - 1;
constexpr char kHeadersOfStreamOne[] = "\x01\x04\0\0\0\x01";  // type, END_HEADERS, stream
// DATA of stream 1 without END_STREAM: the five bytes that announce a message of 256 bytes, of which nothing follows.
constexpr char kHalfMessage[] = "\0\0\x05\0\0\0\0\0\x01\0\0\0\x01\0";
constexpr size_t kHalfMessageBytes = sizeof(kHalfMessage) - 1;

// RFC 7541, 6.2.2: a literal without indexing, both strings plain and shorter than 127 bytes.
void AppendHeader(const std::string& name, const std::string& value, std::string& block) {
  block += '\0';
  block += static_cast<char>(name.size());
  block += name;
  block += static_cast<char>(value.size());
  block += value;
}

std::string HalfRequest() {
  std::string block;
  AppendHeader(":method", "POST", block);
  AppendHeader(":scheme", "http", block);
  AppendHeader(":path", "/latentd.v1.Generation/Generate", block);
  AppendHeader(":authority", "localhost", block);
  AppendHeader("te", "trailers", block);
  AppendHeader("content-type", "application/grpc", block);
  std::string request(kPreface, kPrefaceBytes);
  request += {'\0', '\0', static_cast<char>(block.size())};
  request.append(kHeadersOfStreamOne, sizeof(kHeadersOfStreamOne) - 1);
  return request + block + std::string(kHalfMessage, kHalfMessageBytes);
}

absl::StatusOr<int> Connected(const sockaddr* address, socklen_t bytes) {
  const int socket = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket >= 0 && connect(socket, address, bytes) == 0) return socket;
  const int error = errno;
  if (socket >= 0) close(socket);
  return absl::UnavailableError(std::strerror(error));
}

absl::StatusOr<int> ConnectUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return Connected(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

absl::StatusOr<int> Connect(const Address& address) {
  if (address.kind == Address::Kind::kUnix) return ConnectUnix(address.host);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  return Connected(found->ai_addr, found->ai_addrlen);
}

}  // namespace

void HalfOpenPeers::Close() {
  for (const int socket : sockets_) close(socket);
  sockets_.clear();
}

absl::Status HalfOpenPeers::Open(const std::string& server, int count) {
  const absl::StatusOr<Address> address = ParseAddress(server, AddressUse::kGrpcClient);
  if (!address.ok()) return address.status();
  const std::string request = HalfRequest();
  for (int i = 0; i < count; ++i) {
    const absl::StatusOr<int> socket = Connect(*address);
    if (!socket.ok()) {
      return absl::UnavailableError(absl::StrFormat("--half-open: expected %d connections to %s, found %d: %s", count,
                                                    server, i, socket.status().message()));
    }
    sockets_.push_back(*socket);
    // A server that takes no more has its say in NumClosedByServer.
    (void)!send(*socket, request.data(), request.size(), MSG_NOSIGNAL);
  }
  return absl::OkStatus();
}

size_t HalfOpenPeers::NumClosedByServer() const {
  std::vector<pollfd> polled;
  for (const int socket : sockets_) polled.push_back({.fd = socket, .events = POLLRDHUP, .revents = 0});
  poll(polled.data(), polled.size(), 0);
  size_t num_closed = 0;
  for (const pollfd& entry : polled) num_closed += (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0 ? 1 : 0;
  return num_closed;
}

}  // namespace latentd
