#include "server/access/authority.h"

#include <optional>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "server/access/token.h"

namespace latentd {
namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr std::string_view kScheme = "bearer ";
constexpr char kUnixSocket[] = "unix";
constexpr char kCertified[] = "default";  // the tenant of those whom the CA alone vouches for

// The token of the one header that there may be.
std::optional<std::string_view> TokenOf(const Shown& shown) {
  if (shown.authorization.size() != 1) return std::nullopt;
  std::string_view value = shown.authorization.front();
  if (!absl::StartsWithIgnoreCase({value.data(), value.size()}, {kScheme.data(), kScheme.size()})) return std::nullopt;
  value.remove_prefix(kScheme.size());
  if (value.empty() || value.size() > kMaxTokenBytes) return std::nullopt;
  return value;
}

// All are compared, so that the time tells nothing of which one it was.
const Grant* FindToken(std::string_view token, const std::vector<TokenGrant>& tokens) {
  const Digest digest = Sha256(token);
  const Grant* found = nullptr;
  for (const TokenGrant& each : tokens) {
    if (IsEqual(each.digest, digest)) found = &each.grant;
  }
  return found;
}

Judgement With(const Grant& grant, Rights rights) {
  return {.verdict = (grant.rights & rights) != 0 ? Verdict::kGranted : Verdict::kNoRight, .grant = grant};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Authority>> Authority::Open(const Options& options) {
  const auto parse_tokens = [](std::string_view text, const std::string& path, Grants& grants) -> absl::Status {
    absl::StatusOr<std::vector<TokenGrant>> tokens = ParseTokens(text, path);
    if (!tokens.ok()) return tokens.status();
    grants.tokens = *std::move(tokens);
    return absl::OkStatus();
  };
  const auto parse_identities = [](std::string_view text, const std::string& path, Grants& grants) -> absl::Status {
    absl::StatusOr<std::map<std::string, Grant>> identities = ParseIdentities(text, path);
    if (!identities.ok()) return identities.status();
    grants.identities = *std::move(identities);
    return absl::OkStatus();
  };
  std::unique_ptr<Source> tokens, identities;
  if (!options.tokens.empty()) {
    tokens.reset(new Source{GrantsFile::kTokens, "tokens", WatchedFile(options.tokens), parse_tokens});
  }
  if (!options.identities.empty()) {
    identities.reset(
        new Source{GrantsFile::kIdentities, "identities", WatchedFile(options.identities), parse_identities});
  }
  std::unique_ptr<Authority> authority(new Authority(options, std::move(tokens), std::move(identities)));
  for (Source* source : {authority->tokens_.get(), authority->identities_.get()}) {
    if (source == nullptr) continue;
    source->file.HasChanged();
    if (const absl::Status status = authority->Load(*source); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(source->knob, ": ", status.message()));
    }
  }
  return authority;
}

Authority::Authority(const Options& options, std::unique_ptr<Source> tokens, std::unique_ptr<Source> identities)
    : verifies_clients_(options.verifies_clients),
      tokens_(std::move(tokens)),
      identities_(std::move(identities)),
      grants_(std::make_shared<const Grants>()) {}

absl::Status Authority::Load(Source& source) {
  const absl::StatusOr<std::string> text = ReadFile(source.file.path(), kMaxFileBytes);
  if (!text.ok()) return text.status();
  Grants changed = *grants();
  if (absl::Status status = source.parse(*text, source.file.path(), changed); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  grants_ = std::make_shared<const Grants>(std::move(changed));
  ++loaded_[static_cast<size_t>(source.kind)];
  return absl::OkStatus();
}

void Authority::Look() {
  for (Source* source : {tokens_.get(), identities_.get()}) {
    if (source == nullptr || !source->file.HasChanged()) continue;
    const absl::Status status = Load(*source);
    if (status.ok()) {
      spdlog::info("credentials: {} was read again", source->file.path());
      continue;
    }
    spdlog::warn("credentials: {}; what was read before stays in force", std::string(status.message()));
    std::lock_guard counting(mutex_);
    ++kept_[static_cast<size_t>(source->kind)];
  }
}

std::shared_ptr<const Authority::Grants> Authority::grants() const {
  std::lock_guard lock(mutex_);
  return grants_;
}

Judgement Authority::Judge(const Shown& shown, Rights rights, AccessPoint point) {
  if (is_open_to_all() || (point == AccessPoint::kMetrics && tokens_ == nullptr)) return {};
  Judgement judgement = Decide(shown, rights, *grants());
  if (judgement.verdict != Verdict::kGranted) {
    const size_t kind = judgement.verdict == Verdict::kNoRight ? 1 : 0;
    refused_[static_cast<size_t>(point)][kind].fetch_add(1, std::memory_order_relaxed);
  }
  return judgement;
}

Judgement Authority::Decide(const Shown& shown, Rights rights, const Grants& grants) const {
  if (tokens_ != nullptr && !shown.authorization.empty()) {
    const std::optional<std::string_view> token = TokenOf(shown);
    if (!token) return {.verdict = Verdict::kMalformed};
    const Grant* grant = FindToken(*token, grants.tokens);
    return grant == nullptr ? Judgement{.verdict = Verdict::kUnknownToken} : With(*grant, rights);
  }
  for (const std::string& name : shown.certificate_names) {
    const auto found = grants.identities.find(name);
    if (found != grants.identities.end()) return With(found->second, rights);
  }
  if (tokens_ == nullptr && shown.is_local) {
    return With({.name = kUnixSocket, .tenant = kCertified, .rights = kAnyRight}, rights);
  }
  if (tokens_ != nullptr || !shown.has_certificate) return {.verdict = Verdict::kNoCredential};
  return With({.name = kCertified, .tenant = kCertified, .rights = kMayGenerate}, rights);
}

AccessCounts Authority::counts() const {
  AccessCounts counts;
  for (size_t point = 0; point < counts.refused.size(); ++point) {
    for (size_t kind = 0; kind < counts.refused[point].size(); ++kind) {
      counts.refused[point][kind] = refused_[point][kind].load(std::memory_order_relaxed);
    }
  }
  std::lock_guard lock(mutex_);
  counts.loaded = loaded_;
  counts.kept = kept_;
  return counts;
}

}  // namespace latentd
