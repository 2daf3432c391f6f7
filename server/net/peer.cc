#include "server/net/peer.h"

#include <cstring>
#include <utility>

#include <absl/strings/str_format.h>
#include <arpa/inet.h>
#include <netinet/in.h>

namespace latentd {
namespace {

constexpr size_t kPrefixBytes = 8;   // of an IPv6 address: what one customer is given
constexpr size_t kMappedBytes = 12;  // before the IPv4 address that it stands for

const in_addr& Ipv4(const sockaddr_storage& peer) { return reinterpret_cast<const sockaddr_in&>(peer).sin_addr; }
const in6_addr& Ipv6(const sockaddr_storage& peer) { return reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr; }

std::string Text(int family, const void* address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, address, text, sizeof(text));
  return text;
}

std::string PrefixOf(in6_addr address) {
  std::memset(&address.s6_addr[kPrefixBytes], 0, sizeof(address) - kPrefixBytes);
  return Text(AF_INET6, &address);
}

std::string AddressOf(const std::string& name) {
  const size_t begin = name.find(':') + 1, end = name.rfind(':');
  if (!name.starts_with("ip") || end < begin) return name;
  if (!name.starts_with("ipv6:[")) return name.substr(begin, end - begin);
  in6_addr address{};
  const std::string text = name.substr(begin + 1, name.find_first_of("%]") - begin - 1);
  return inet_pton(AF_INET6, text.c_str(), &address) == 1 ? PrefixOf(address) : name;
}

}  // namespace

Peer::Peer(std::string name) : address(AddressOf(name)), connection(std::move(name)) {}

bool GivesWay(const Claimant& holder, const Claimant& newcomer, size_t amount) {
  if (holder.peer.address == newcomer.peer.address) {
    return holder.holding.of_connection > newcomer.holding.of_connection + amount;
  }
  return holder.holding.of_address > newcomer.holding.of_address + amount;
}

std::string AddressOfPeer(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) return Text(AF_INET, &Ipv4(peer));
  if (peer.ss_family != AF_INET6) return "";
  const in6_addr& address = Ipv6(peer);
  return IN6_IS_ADDR_V4MAPPED(&address) ? Text(AF_INET, &address.s6_addr[kMappedBytes]) : PrefixOf(address);
}

std::string NameOfPeer(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) {
    return absl::StrFormat("ipv4:%s:%d", Text(AF_INET, &Ipv4(peer)),
                           ntohs(reinterpret_cast<const sockaddr_in&>(peer).sin_port));
  }
  if (peer.ss_family != AF_INET6) return "unix:";
  const in6_addr& address = Ipv6(peer);
  const int port = ntohs(reinterpret_cast<const sockaddr_in6&>(peer).sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    return absl::StrFormat("ipv4:%s:%d", Text(AF_INET, &address.s6_addr[kMappedBytes]), port);
  }
  return absl::StrFormat("ipv6:[%s]:%d", Text(AF_INET6, &address), port);
}

}  // namespace latentd
