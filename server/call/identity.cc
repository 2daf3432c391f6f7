#include "server/call/identity.h"

#include <utility>

#include "server/api/methods.h"
#include "server/api/status.h"

namespace latentd {
namespace {

struct Wanted {
  Rights rights = kMayGenerate;
  std::string_view name = "generate";
};

Wanted WantedFor(std::string_view method) {
  const MethodTraits traits = TraitsOf(method);
  if ((traits & kOperates) != 0) return {kMayAdminister, "admin"};
  if ((traits & kDescribes) != 0) return {kMayGenerate | kMayAdminister, "generate"};
  return {};
}

absl::Status Unknown(Verdict verdict) {
  switch (verdict) {
    case Verdict::kMalformed:
      return Unauthenticated("metadata authorization: expected one \"Bearer TOKEN\", found others");
    case Verdict::kUnknownToken:
      return Unauthenticated("metadata authorization: expected a token that this server knows, found another one");
    default:
      return Unauthenticated(
          "expected a credential, found none; send the metadata authorization: Bearer TOKEN, or dial with a client "
          "certificate where the operator maps those");
  }
}

absl::StatusOr<Identity> Ask(const Shown& shown, const Wanted& wanted, const Entrance& entrance) {
  if (entrance.authority == nullptr || entrance.authority->is_open_to_all()) return Identity{};
  Judgement judgement = entrance.authority->Judge(shown, wanted.rights, entrance.point);
  if (judgement.verdict == Verdict::kGranted) {
    return Identity{
        .is_known = true, .name = std::move(judgement.grant.name), .tenant = std::move(judgement.grant.tenant)};
  }
  if (judgement.verdict == Verdict::kNoRight) return PermissionDenied(wanted.name, judgement.grant.name);
  return Unknown(judgement.verdict);
}

}  // namespace

absl::StatusOr<Identity> Identify(const Shown& shown, std::string_view method, const Entrance& entrance) {
  return Ask(shown, WantedFor(method), entrance);
}

absl::StatusOr<Identity> IdentifyAny(const Shown& shown, const Entrance& entrance) {
  return Ask(shown, {.rights = kAnyRight, .name = "call"}, entrance);
}

}  // namespace latentd
