#include "tools/load/shares.h"

#include <algorithm>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr size_t kMaxTenants = 64;  // each has figures of its own
constexpr size_t kMaxNameBytes = 64;
constexpr double kMaxShare = 1e6;

bool ReadShare(absl::string_view text, double& share) {
  return absl::SimpleAtod(text, &share) && share > 0.0 && share <= kMaxShare;
}

bool IsTenantName(absl::string_view name) {
  const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), is_printable);
}

}  // namespace

absl::StatusOr<std::vector<TenantShare>> ParseTenants(std::string_view text) {
  std::vector<TenantShare> tenants;
  for (const absl::string_view entry : absl::StrSplit(View(text), ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(entry, ':');
    TenantShare tenant{.name = std::string(parts[0])};
    const auto has_name = [&tenant](const TenantShare& other) { return other.name == tenant.name; };
    const bool is_right = (parts.size() == 2 || parts.size() == 3) && IsTenantName(parts[0]) &&
                          ReadShare(parts[1], tenant.share) &&
                          ReadShare(parts.size() == 3 ? parts[2] : "1", tenant.weight);
    if (!is_right || std::any_of(tenants.begin(), tenants.end(), has_name) || tenants.size() == kMaxTenants) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--tenants: expected up to %d different tenants as NAME:SHARE or NAME:SHARE:WEIGHT, joined by commas, found "
          "\"%s\"",
          kMaxTenants, entry));
    }
    tenants.push_back(std::move(tenant));
  }
  return tenants;
}

absl::StatusOr<std::vector<PriorityShare>> ParsePriorities(std::string_view text) {
  std::vector<PriorityShare> priorities;
  for (const absl::string_view entry : absl::StrSplit(View(text), ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(entry, ':');
    PriorityShare priority;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &priority.priority) || !ReadShare(parts[1], priority.share)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--priorities: expected PRIORITY:SHARE, joined by commas, found \"%s\"", entry));
    }
    priorities.push_back(priority);
  }
  return priorities;
}

}  // namespace latentd
