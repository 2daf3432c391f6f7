#include "server/access/grants_file.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "base/printable_text.h"

namespace latentd {
namespace {

constexpr size_t kMaxWordBytes = 64;  // of a name or a tenant
constexpr size_t kMaxIdentityBytes = 512;

using Words = std::vector<std::string>;

bool IsWord(std::string_view text, size_t most) {
  return !text.empty() && text.size() <= most && IsPrintableAscii(text);
}

absl::Status ErrorAt(const std::string& path, int line, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", path, line, message));
}

// Calls `use` with the words of each line that has some.
absl::Status ForEachLine(std::string_view text, const std::string& path,
                         const std::function<absl::Status(const Words& words)>& use) {
  int number = 0;
  size_t count = 0;
  for (const auto line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const auto content = line.substr(0, line.find('#'));
    const Words words = absl::StrSplit(content, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (++count > kMaxGrants) {
      return ErrorAt(path, number, absl::StrFormat("expected at most %d lines, found more", kMaxGrants));
    }
    if (absl::Status status = use(words); !status.ok()) return ErrorAt(path, number, std::string(status.message()));
  }
  return absl::OkStatus();
}

absl::Status Expected(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

absl::StatusOr<Grant> MakeGrant(const std::string& name, const std::string& tenant, const std::string& rights) {
  if (!IsWord(tenant, kMaxWordBytes)) {
    return Expected(absl::StrFormat("expected a tenant of 1 to %d bytes of printable ASCII", kMaxWordBytes));
  }
  const absl::StatusOr<Rights> parsed = ParseRights(rights);
  if (!parsed.ok()) return parsed.status();
  return Grant{.name = name, .tenant = tenant, .rights = *parsed};
}

absl::StatusOr<TokenGrant> ParseToken(const Words& words) {
  if (words.size() != 4) {
    return Expected(absl::StrFormat(
        "expected NAME SHA256 TENANT RIGHTS, as latentctl token new prints it, found %d words", words.size()));
  }
  if (!IsWord(words[0], kMaxWordBytes)) {
    return Expected(absl::StrFormat("expected a name of 1 to %d bytes of printable ASCII", kMaxWordBytes));
  }
  const std::optional<Digest> digest = ParseDigest(words[1]);
  if (!digest) {
    return Expected(absl::StrFormat(
        "expected the SHA-256 of a token in 64 hexadecimal digits, found %d other bytes; never put the token itself "
        "here",
        words[1].size()));
  }
  absl::StatusOr<Grant> grant = MakeGrant(words[0], words[2], words[3]);
  if (!grant.ok()) return grant.status();
  return TokenGrant{.digest = *digest, .grant = *std::move(grant)};
}

}  // namespace

absl::StatusOr<Rights> ParseRights(std::string_view text) {
  Rights rights = 0;
  for (const auto part : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    const auto has_name = [&part](const RightName& right) {
      return std::string_view(part.data(), part.size()) == right.name;
    };
    const auto* right = std::find_if(std::begin(kRightNames), std::end(kRightNames), has_name);
    if (right == std::end(kRightNames)) {
      return Expected("expected rights of generate, admin and metrics, with commas between them, found other words");
    }
    rights = static_cast<Rights>(rights | right->right);
  }
  return rights;
}

std::string PrintRights(Rights rights) {
  std::string text;
  for (const RightName& right : kRightNames) {
    if ((rights & right.right) == 0) continue;
    if (!text.empty()) text += ',';
    text += right.name;
  }
  return text;
}

std::string PrintTokenLine(const TokenGrant& token) {
  const Grant& grant = token.grant;
  return absl::StrFormat("%s %s %s %s", grant.name, ToHex(token.digest), grant.tenant, PrintRights(grant.rights));
}

absl::StatusOr<std::vector<TokenGrant>> ParseTokens(std::string_view text, const std::string& path) {
  std::vector<TokenGrant> tokens;
  std::set<std::string> names;
  std::set<Digest> digests;
  absl::Status status = ForEachLine(text, path, [&](const Words& words) {
    absl::StatusOr<TokenGrant> token = ParseToken(words);
    if (!token.ok()) return token.status();
    if (!names.insert(words[0]).second) return Expected("expected each name once, found this one twice");
    if (!digests.insert(token->digest).second) return Expected("expected each token once, found it twice");
    tokens.push_back(*std::move(token));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return tokens;
}

absl::StatusOr<std::map<std::string, Grant>> ParseIdentities(std::string_view text, const std::string& path) {
  std::map<std::string, Grant> identities;
  absl::Status status = ForEachLine(text, path, [&](const Words& words) {
    if (words.size() != 3 || !IsWord(words[0], kMaxIdentityBytes)) {
      return Expected(absl::StrFormat("expected SAN TENANT RIGHTS, found %d words", words.size()));
    }
    absl::StatusOr<Grant> grant = MakeGrant(words[0], words[1], words[2]);
    if (!grant.ok()) return grant.status();
    if (identities.emplace(words[0], *std::move(grant)).second) return absl::OkStatus();
    return Expected("expected each name of a certificate once, found this one twice");
  });
  if (!status.ok()) return status;
  return identities;
}

}  // namespace latentd
