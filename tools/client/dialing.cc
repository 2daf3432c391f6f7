#include "tools/client/dialing.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_format.h>

#include "base/file.h"

namespace latentd {
namespace {

constexpr size_t kMaxTokenBytes = 512;
constexpr size_t kMaxPemBytes = 1 << 20;
constexpr char kVariable[] = "LATENTD_TOKEN";

// As it may stand in a header.
bool IsToken(const std::string& text) {
  return !text.empty() && text.size() <= kMaxTokenBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// The path becomes what the file holds.
std::string TakeToken(std::string& value) {
  const absl::StatusOr<std::string> text = ReadFile(value, 2 * kMaxTokenBytes);
  if (!text.ok()) return std::string(text.status().message());
  const std::string token(absl::StripAsciiWhitespace(*text));
  if (!IsToken(token)) {
    return absl::StrFormat("expected one token of 1 to %d bytes in %s, found others", kMaxTokenBytes, value);
  }
  value = token;
  return "";
}

std::string TakePem(std::string& value) {
  absl::StatusOr<std::string> text = ReadFile(value, kMaxPemBytes);
  if (!text.ok()) return std::string(text.status().message());
  if (text->find("-----BEGIN ") == std::string::npos) return "expected PEM in " + value + ", found other bytes";
  value = *std::move(text);
  return "";
}

}  // namespace

std::string TokenOf(const Dialing& dialing) {
  if (!dialing.token.empty()) return dialing.token;
  const char* const variable = std::getenv(kVariable);
  return variable != nullptr && IsToken(variable) ? variable : "";
}

void AddDialingFlags(Command command, Dialing& dialing) {
  command.Add({.name = "--no-proxy",
               .target = &dialing.no_proxy,
               .help =
                   "Dials without a proxy, whatever https_proxy says; loopback, unix sockets and what NO_PROXY names "
                   "never use one"});
  command.Add({.name = "--token-file",
               .target = &dialing.token,
               .help = "File with the token to show; default: the variable LATENTD_TOKEN, or none",
               .rule = {.judge = TakeToken},
               .type = "FILE"});
  command.Add({.name = "--tls-ca",
               .target = &dialing.tls_ca,
               .help = "File with the CA of the daemon's certificate, PEM: dials with TLS",
               .rule = {.judge = TakePem},
               .type = "FILE"});
  command.Add({.name = "--tls-cert",
               .target = &dialing.tls_cert,
               .help = "File with the certificate to show, PEM; without --tls-ca the system's CAs count",
               .rule = {.judge = TakePem},
               .type = "FILE"});
  command.Add({.name = "--tls-key",
               .target = &dialing.tls_key,
               .help = "File with its private key, PEM",
               .rule = {.judge = TakePem},
               .type = "FILE"});
}

}  // namespace latentd
