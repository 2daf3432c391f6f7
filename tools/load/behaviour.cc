#include "tools/load/behaviour.h"

#include <string>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "tools/load/view.h"

namespace latentd {
namespace {

struct Row {
  Behaviour behaviour;
  const char* name;
  const char* group;
};

constexpr Row kRows[] = {
    {Behaviour::kCancelQueued, "cancel-queued", "cancel"},
    {Behaviour::kCancelPrefill, "cancel-prefill", "cancel"},
    {Behaviour::kCancelDecode, "cancel-decode", "cancel"},
    {Behaviour::kRpcDeadline, "deadline-rpc", "deadline"},
    {Behaviour::kServerTimeout, "deadline-server", "deadline"},
    {Behaviour::kSlowReader, "slow-reader", "reader"},
    {Behaviour::kStalledReader, "stalled-reader", "reader"},
    {Behaviour::kMalformed, "malformed", "request"},
    {Behaviour::kOversize, "oversize", "request"},
    {Behaviour::kDuplicateId, "duplicate-id", "request"},
};
constexpr double kRounding = 1e-9;  // of fractions that come to 1

std::vector<Behaviour> Named(absl::string_view name) {
  std::vector<Behaviour> named;
  for (const Row& row : kRows) {
    if (name == row.name || name == row.group || name == "all") named.push_back(row.behaviour);
  }
  return named;
}

std::string AllNames() {
  std::string names = "all";
  std::string group;
  for (const Row& row : kRows) {
    if (group != row.group) names += absl::StrFormat(", %s", group = row.group);
    names += absl::StrFormat(", %s", row.name);
  }
  return names;
}

}  // namespace

const char* NameOf(Behaviour behaviour) {
  for (const Row& row : kRows) {
    if (row.behaviour == behaviour) return row.name;
  }
  return "well-behaved";
}

absl::StatusOr<std::vector<BehaviourShare>> ParseAdversaries(std::string_view text) {
  std::vector<BehaviourShare> shares;
  double sum = 0.0;
  for (const absl::string_view entry : absl::StrSplit(View(text), ',')) {
    const std::vector<absl::string_view> sides = absl::StrSplit(entry, ':');
    const std::vector<Behaviour> named = Named(sides[0]);
    double fraction = 0.0;
    if (sides.size() != 2 || named.empty() || !absl::SimpleAtod(sides[1], &fraction) || !(fraction >= 0.0)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--adversaries: expected NAME:FRACTION, joined by commas, found \"%s\"; names are %s", entry, AllNames()));
    }
    sum += fraction;
    for (const Behaviour behaviour : named) shares.push_back({behaviour, fraction / static_cast<double>(named.size())});
  }
  if (sum <= 1.0 + kRounding) return shares;
  return absl::InvalidArgumentError(
      absl::StrFormat("--adversaries: expected fractions up to 1 together, found %g", sum));
}

}  // namespace latentd
