// The two files that say who may do what: of tokens, "NAME SHA256 TENANT RIGHTS" a line, and of client certificates,
// "SAN TENANT RIGHTS" a line. Words are separated by blanks, rights by commas, '#' begins a comment. Pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "server/access/digest.h"
#include "server/access/right.h"

namespace latentd {

inline constexpr size_t kMaxGrants = 4096;  // of one file: each call is compared with all of them

struct Grant {
  std::string name;  // of the token or of the certificate, for the log
  std::string tenant;
  Rights rights = 0;

  bool operator==(const Grant&) const = default;
};

struct TokenGrant {
  Digest digest{};
  Grant grant;
};

// INVALID_ARGUMENT with file, line and what was expected and found; a text that may be a token is never quoted.
absl::StatusOr<std::vector<TokenGrant>> ParseTokens(std::string_view text, const std::string& path);
absl::StatusOr<std::map<std::string, Grant>> ParseIdentities(std::string_view text, const std::string& path);

// "generate,metrics"; INVALID_ARGUMENT where it is no such list.
absl::StatusOr<Rights> ParseRights(std::string_view text);
std::string PrintRights(Rights rights);

// The line of a token, with its name, tenant and rights as ParseTokens takes them.
std::string PrintTokenLine(const TokenGrant& token);

}  // namespace latentd
