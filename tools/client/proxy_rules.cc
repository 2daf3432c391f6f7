#include "tools/client/proxy_rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>

#include <absl/strings/ascii.h>
#include <arpa/inet.h>
#include <netinet/in.h>

namespace latentd {
namespace {

// 16 bytes, an IPv4 address as IPv6 maps it (::ffff:a.b.c.d), so that both compare alike.
using IpBytes = std::array<uint8_t, sizeof(in6_addr)>;
constexpr int kIpBits = 128, kMappedBits = 96;

std::optional<IpBytes> ParseIp(std::string_view text) {
  const std::string terminated(text);
  IpBytes bytes{};
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return bytes;
  bytes = {};
  bytes[10] = bytes[11] = 0xff;
  if (inet_pton(AF_INET, terminated.c_str(), bytes.data() + kMappedBits / 8) == 1) return bytes;
  return std::nullopt;
}

std::optional<int> ParseNumber(std::string_view text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

bool SharePrefix(const IpBytes& a, const IpBytes& b, int bits) {
  for (int bit = 0; bit < bits; ++bit) {
    const auto byte = static_cast<size_t>(bit / 8);
    if (((a[byte] ^ b[byte]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

// An address, or a network with a slash.
bool IsOfNetwork(const IpBytes& host, std::string_view network) {
  const size_t slash = network.find('/');
  const std::string_view base = network.substr(0, slash);
  const std::optional<IpBytes> bytes = ParseIp(base);
  if (!bytes) return false;
  int bits = kIpBits;
  if (slash != std::string_view::npos) {
    const std::optional<int> given = ParseNumber(network.substr(slash + 1));
    if (!given) return false;
    bits = *given + (base.find(':') == std::string_view::npos ? kMappedBits : 0);
  }
  return bits <= kIpBits && SharePrefix(host, *bytes, bits);
}

// Equal, or a name below it.
bool IsOfDomain(std::string_view host, std::string_view domain) {
  while (domain.starts_with('*') || domain.starts_with('.')) domain.remove_prefix(1);
  if (domain.empty() || !host.ends_with(domain)) return false;
  return host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.';
}

struct Entry {
  std::string_view host;
  std::optional<int> port;
};

Entry SplitEntry(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return {text, {}};
    const std::string_view behind = text.substr(end + 1);
    return {text.substr(1, end - 1), behind.starts_with(':') ? ParseNumber(behind.substr(1)) : std::nullopt};
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon != text.rfind(':')) return {text, {}};  // none, or IPv6 without brackets
  return {text.substr(0, colon), ParseNumber(text.substr(colon + 1))};
}

std::string_view WithoutRootDot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool Matches(const Address& address, std::string_view text) {
  const std::string lower = absl::AsciiStrToLower({text.data(), text.size()});
  const Entry entry = SplitEntry(lower);
  if (entry.port && *entry.port != address.port) return false;
  if (entry.host == "*") return true;
  if (address.kind == Address::Kind::kName) {
    return IsOfDomain(WithoutRootDot(address.host), WithoutRootDot(entry.host));
  }
  const std::optional<IpBytes> host = ParseIp(address.host);
  return host && IsOfNetwork(*host, entry.host);
}

bool IsLocal(const Address& address) {
  if (address.is_loopback() || address.is_wildcard()) return true;
  return address.kind == Address::Kind::kName && IsOfDomain(WithoutRootDot(address.host), "localhost");
}

}  // namespace

bool GoesWithoutProxy(const Address& address, std::string_view no_proxy) {
  if (IsLocal(address)) return true;
  while (!no_proxy.empty()) {
    const size_t end = std::min(no_proxy.find_first_of(", \t"), no_proxy.size());
    const std::string_view entry = no_proxy.substr(0, end);
    no_proxy.remove_prefix(std::min(end + 1, no_proxy.size()));
    if (!entry.empty() && Matches(address, entry)) return true;
  }
  return false;
}

}  // namespace latentd
