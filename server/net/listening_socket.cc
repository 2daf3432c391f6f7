#include "server/net/listening_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace latentd {
namespace {

// Connections that the kernel holds for us while the accepting thread is busy; net.core.somaxconn bounds it, too.
constexpr int kBacklog = 4096;
// Two daemons that find the same stale socket file take turns, for so long at most.
constexpr int kLockTries = 100;
constexpr int kLockPauseMs = 10;

std::string Reason(int error) { return std::generic_category().message(error); }

absl::Status CannotListen(const Address& address, std::string_view reason, std::string_view flag) {
  return absl::UnavailableError(absl::StrFormat(
      "expected an address to listen on, found %s: %s; choose another with %s", address.ToString(), reason, flag));
}

// The form of an address for the system calls.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t num_bytes = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress OfIp(const Address& address) {
  SocketAddress result;
  const auto port = htons(static_cast<uint16_t>(address.port));
  if (address.kind == Address::Kind::kIpv4) {
    auto& ipv4 = reinterpret_cast<sockaddr_in&>(result.storage);
    ipv4 = {.sin_family = AF_INET, .sin_port = port, .sin_addr = {}, .sin_zero = {}};
    inet_pton(AF_INET, address.host.c_str(), &ipv4.sin_addr);
    result.num_bytes = sizeof(ipv4);
  } else {
    auto& ipv6 = reinterpret_cast<sockaddr_in6&>(result.storage);
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = port;
    inet_pton(AF_INET6, address.host.c_str(), &ipv6.sin6_addr);
    result.num_bytes = sizeof(ipv6);
  }
  return result;
}

SocketAddress OfPath(const std::string& path) {
  SocketAddress result;
  auto& local = reinterpret_cast<sockaddr_un&>(result.storage);
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.c_str(), std::min(path.size() + 1, sizeof(local.sun_path)));
  result.num_bytes = sizeof(local);
  return result;
}

Address FromIp(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.storage.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
    return {.kind = Address::Kind::kIpv4, .host = text, .port = ntohs(ipv4.sin_port)};
  }
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
  return {.kind = Address::Kind::kIpv6, .host = text, .port = ntohs(ipv6.sin6_port)};
}

// The first IPv4 address of a name, else its first IPv6 address.
absl::StatusOr<Address> LookUp(const Address& name, std::string_view flag) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(name.host.c_str(), nullptr, &hints, &found);
  if (error != 0) return CannotListen(name, error == EAI_SYSTEM ? Reason(errno) : gai_strerror(error), flag);
  std::vector<Address> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(FromIp(address));
  }
  freeaddrinfo(found);
  if (addresses.empty()) return CannotListen(name, "the name has no IP address", flag);
  const auto is_ipv4 = [](const Address& address) { return address.kind == Address::Kind::kIpv4; };
  const auto first_ipv4 = std::find_if(addresses.begin(), addresses.end(), is_ipv4);
  Address chosen = first_ipv4 == addresses.end() ? addresses.front() : *first_ipv4;
  chosen.port = name.port;
  return chosen;
}

int OpenSocket(int family) { return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

// 0 or the error's number.
int BindAndListen(int descriptor, const SocketAddress& address) {
  if (bind(descriptor, address.get(), address.num_bytes) != 0 || listen(descriptor, kBacklog) != 0) return errno;
  return 0;
}

int ListenOnIp(int descriptor, const Address& address) {
  const int on = 1;
  const int off = 0;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.kind == Address::Kind::kIpv6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  return BindAndListen(descriptor, OfIp(address));
}

// Held while a socket file is looked at and replaced. Without it, where the folder can't be opened, the same is done
// with a chance that two daemons that start together replace each other's file.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path)
      : folder_(open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; i < kLockTries && folder_ >= 0 && flock(folder_, LOCK_EX | LOCK_NB) != 0; ++i) {
      poll(nullptr, 0, kLockPauseMs);
    }
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (folder_ >= 0) close(folder_);
  }

 private:
  const int folder_;
};

// Whether a socket without a listener lies at the path.
bool IsStaleSocket(const std::string& path, const SocketAddress& address) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  const int probe = OpenSocket(AF_UNIX);
  const bool is_refused = probe >= 0 && connect(probe, address.get(), address.num_bytes) != 0 && errno == ECONNREFUSED;
  if (probe >= 0) close(probe);
  return is_refused;
}

int ListenOnPath(int descriptor, const std::string& path) {
  const SocketAddress address = OfPath(path);
  const FolderLock lock(path);
  const int error = BindAndListen(descriptor, address);
  if (error != EADDRINUSE || !IsStaleSocket(path, address) || unlink(path.c_str()) != 0) return error;
  return BindAndListen(descriptor, address);
}

// "in use" says too little of a path.
std::string ReasonFor(const Address& address, int error) {
  struct stat file {};
  if (address.kind != Address::Kind::kUnix || error != EADDRINUSE || lstat(address.host.c_str(), &file) != 0) {
    return Reason(error);
  }
  return S_ISSOCK(file.st_mode) ? "another process listens there" : "a file that is no socket lies there";
}

}  // namespace

absl::StatusOr<ListeningSocket> ListeningSocket::Open(const Address& address, std::string_view flag) {
  Address wanted = address;
  if (address.kind == Address::Kind::kName) {
    absl::StatusOr<Address> found = LookUp(address, flag);
    if (!found.ok()) return found.status();
    wanted = *std::move(found);
  }
  const bool is_unix = wanted.kind == Address::Kind::kUnix;
  int descriptor = OpenSocket(is_unix ? AF_UNIX : wanted.kind == Address::Kind::kIpv4 ? AF_INET : AF_INET6);
  if (descriptor < 0 && errno == EAFNOSUPPORT && wanted.is_wildcard()) {
    wanted = {.kind = Address::Kind::kIpv4, .host = "0.0.0.0", .port = wanted.port};
    descriptor = OpenSocket(AF_INET);
  }
  if (descriptor < 0) return CannotListen(address, Reason(errno), flag);
  const int error = is_unix ? ListenOnPath(descriptor, wanted.host) : ListenOnIp(descriptor, wanted);
  if (error != 0) {
    close(descriptor);
    return CannotListen(address, ReasonFor(wanted, error), flag);
  }
  if (is_unix) return ListeningSocket(descriptor, wanted);
  SocketAddress bound;
  bound.num_bytes = sizeof(bound.storage);
  getsockname(descriptor, bound.get(), &bound.num_bytes);
  return ListeningSocket(descriptor, FromIp(bound));
}

ListeningSocket::ListeningSocket(int descriptor, Address address)
    : descriptor_(descriptor), address_(std::move(address)) {
  struct stat file {};
  if (address_.kind != Address::Kind::kUnix || lstat(address_.host.c_str(), &file) != 0) return;
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      address_(std::move(other.address_)),
      device_(other.device_),
      inode_(other.inode_) {}

int ListeningSocket::Accept() const { return accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }

bool IsLackOfResources(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

ListeningSocket::~ListeningSocket() {
  if (descriptor_ < 0) return;
  struct stat file {};
  const bool is_ours = address_.kind == Address::Kind::kUnix && lstat(address_.host.c_str(), &file) == 0 &&
                       file.st_dev == device_ && file.st_ino == inode_;
  if (is_ours) unlink(address_.host.c_str());
  close(descriptor_);
}

}  // namespace latentd
