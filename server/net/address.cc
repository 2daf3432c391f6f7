#include "server/net/address.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace latentd {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un{}.sun_path) - 1;  // the last one ends it
constexpr size_t kMaxNameBytes = 253;                                 // of a host, as DNS has it
constexpr size_t kMaxQuotedBytes = 120;

std::string Expected(AddressUse use) {
  return TakesUnixSockets(use) ? "HOST:PORT, [IPV6]:PORT or unix:/PATH" : "HOST:PORT or [IPV6]:PORT";
}

// The excerpt of a text in a message: one line of bounded length.
std::string Excerpt(std::string_view text) {
  std::string excerpt;
  for (const char c : text.substr(0, kMaxQuotedBytes)) {
    excerpt += absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '"' ? c : '?';
  }
  return text.size() > kMaxQuotedBytes ? excerpt + "…" : excerpt;
}

absl::Status Refuse(std::string_view text, AddressUse use, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrFormat("expected %s, found \"%s\": %s", Expected(use), Excerpt(text), why));
}

std::optional<int> ParsePort(std::string_view text) {
  int port = -1;
  const bool is_digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isdigit(c); });
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (!is_digits || error != std::errc() || port > 65535) return std::nullopt;
  return port;
}

// The address in its shortest form; nothing where `text` is none.
std::optional<std::string> CanonicalIp(int family, std::string_view text) {
  in6_addr address{};
  char canonical[INET6_ADDRSTRLEN];
  if (inet_pton(family, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return inet_ntop(family, &address, canonical, sizeof(canonical));
}

bool IsHostName(std::string_view text) {
  const auto fits = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_'; };
  return !text.empty() && text.size() <= kMaxNameBytes && std::all_of(text.begin(), text.end(), fits) &&
         text.front() != '.' && text.front() != '-' && text.find("..") == std::string_view::npos;
}

// "1", "0x7f", "127.1": resolvers read such names as IPv4 addresses of which parts were left out.
bool EndsInNumber(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string_view last = name.substr(name.rfind('.') + 1);
  const auto is_digit = [](unsigned char c) { return absl::ascii_isdigit(c); };
  return std::all_of(last.begin(), last.end(), is_digit) || last.starts_with("0x") || last.starts_with("0X");
}

absl::StatusOr<Address> ParseUnix(std::string_view text, AddressUse use) {
  if (!TakesUnixSockets(use)) return Refuse(text, use, "metrics are served over TCP only");
  std::string_view path = text.substr(kUnix.size());
  if (path.starts_with("///")) path.remove_prefix(2);  // the same, spelt as a URI
  if (path.empty() || path.front() != '/') {
    return Refuse(text, use, "a path from the root is needed, which means the same in every working directory");
  }
  if (path.find("//") != std::string_view::npos)
    return Refuse(text, use, "a host has no place in the path of a socket");
  if (path.back() == '/') return Refuse(text, use, "the path names a folder");
  if (path.size() > kMaxPathBytes) {
    return Refuse(text, use, absl::StrFormat("a path has at most %d bytes, this one %d", kMaxPathBytes, path.size()));
  }
  // What needs no escape in a URI, which is what gRPC's clients take the text for.
  const auto fits = [](unsigned char c) {
    return absl::ascii_isalnum(c) || std::string_view("/._-+=,:@~").find(static_cast<char>(c)) != std::string::npos;
  };
  if (!std::all_of(path.begin(), path.end(), fits)) {
    return Refuse(text, use, "a path consists of letters, digits and /._-+=,:@~");
  }
  return Address{.kind = Address::Kind::kUnix, .host = std::string(path), .port = 0};
}

absl::StatusOr<Address> ParseHost(std::string_view text, std::string_view host, AddressUse use) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    const auto canonical = CanonicalIp(AF_INET6, host.substr(1, host.size() - 2));
    if (!canonical) return Refuse(text, use, "no IPv6 address stands in the brackets");
    constexpr std::string_view kMapped = "::ffff:";  // an IPv4 address in IPv6's clothes
    const bool is_mapped = canonical->starts_with(kMapped) && canonical->find('.') != std::string::npos;
    if (is_mapped) return Address{.kind = Address::Kind::kIpv4, .host = canonical->substr(kMapped.size()), .port = 0};
    return Address{.kind = Address::Kind::kIpv6, .host = *canonical, .port = 0};
  }
  if (text.find("://") != std::string_view::npos) return Refuse(text, use, "the scheme of a URI has no place here");
  if (host.find(':') != std::string_view::npos) return Refuse(text, use, "an IPv6 address needs brackets");
  if (host.empty() || host == "*") {
    return Refuse(text, use, "the host is missing; 0.0.0.0 is every IPv4 address, [::] every address");
  }
  if (const auto canonical = CanonicalIp(AF_INET, host)) {
    return Address{.kind = Address::Kind::kIpv4, .host = *canonical, .port = 0};
  }
  if (!IsHostName(host)) return Refuse(text, use, "this is no name of a host");
  if (EndsInNumber(host)) return Refuse(text, use, "an IPv4 address has four numbers from 0 to 255");
  return Address{.kind = Address::Kind::kName, .host = absl::AsciiStrToLower(std::string(host)), .port = 0};
}

}  // namespace

std::string Address::ToString() const {
  if (kind == Kind::kUnix) return std::string(kUnix) + host;
  return absl::StrCat(kind == Kind::kIpv6 ? "[" + host + "]" : host, ":", port);
}

bool Address::is_wildcard() const { return kind != Kind::kUnix && (host == "0.0.0.0" || host == "::"); }

bool Address::is_loopback() const {
  switch (kind) {
    case Kind::kIpv4:
      return host.starts_with("127.");
    case Kind::kIpv6:
      return host == "::1";
    case Kind::kName:
      return host == "localhost";
    case Kind::kUnix:
      return true;
  }
  return false;
}

absl::StatusOr<Address> ParseAddress(std::string_view text, AddressUse use) {
  if (text.starts_with(kUnix)) return ParseUnix(text, use);
  const size_t colon = text.rfind(':');
  const bool has_port = colon != std::string_view::npos && (text.front() != '[' || text[colon - 1] == ']');
  const std::optional<int> port = has_port ? ParsePort(text.substr(colon + 1)) : std::nullopt;
  if (!port) return Refuse(text, use, "a port from 0 to 65535 is missing");
  absl::StatusOr<Address> address = ParseHost(text, text.substr(0, colon), use);
  if (!address.ok()) return address;
  const bool is_client = use == AddressUse::kGrpcClient || use == AddressUse::kHttpClient;
  if (is_client && *port == 0) return Refuse(text, use, "nothing listens on port 0");
  address->port = *port;
  return address;
}

absl::StatusOr<Address> ParseTcpListener(std::string_view text) {
  constexpr std::string_view kScheme = "tcp://";
  if (text.starts_with(kScheme)) return ParseAddress(text.substr(kScheme.size()), AddressUse::kHttpListener);
  return absl::InvalidArgumentError(
      absl::StrFormat("expected tcp://HOST:PORT or tcp://[IPV6]:PORT, found \"%s\": tcp:// is missing", Excerpt(text)));
}

Address AddressToDial(const Address& bound) {
  if (!bound.is_wildcard()) return bound;
  // [::] takes IPv4, too, and a container's loopback may have no ::1.
  return {.kind = Address::Kind::kIpv4, .host = "127.0.0.1", .port = bound.port};
}

}  // namespace latentd
