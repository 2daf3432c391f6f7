#include "engine/schedule/tenants.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latentd {

Tenants::Tenants(TenantRules rules) : rules_(std::move(rules)) {
  CHECK(!rules_.listed.contains("") && "requests without a tenant's name have the rule of others");
  for (const auto& [name, rule] : rules_.listed) Open(name);
  Open("");
}

Tenant& Tenants::Open(std::string_view name) {
  const bool is_listed = rules_.listed.contains(name);
  const auto [place, is_new] = (is_listed ? listed_ : unlisted_)
                                   .emplace(std::string(name), Tenant{.name = std::string(name),
                                                                      .rule = rules_.Of(name),
                                                                      .is_listed = is_listed,
                                                                      .number = ++num_opened_});
  CHECK(is_new);
  return place->second;
}

Tenant& Tenants::Enter(std::string_view name) {
  const auto find = [this](std::string_view wanted) -> Tenant* {
    if (const auto found = listed_.find(wanted); found != listed_.end()) return &found->second;
    const auto found = unlisted_.find(wanted);
    return found == unlisted_.end() ? nullptr : &found->second;
  };
  Tenant* tenant = find(name);
  const bool has_place = unlisted_.size() <= kMostUnlisted;  // one of them is ""
  if (tenant == nullptr) tenant = has_place ? &Open(name) : find("");
  ++tenant->num_sequences;
  if (!tenant->is_listed) ++num_sequences_of_others_;
  return *tenant;
}

void Tenants::Leave(Tenant& tenant) {
  CHECK_GT(tenant.num_sequences, 0);
  --tenant.num_sequences;
  if (tenant.is_listed) return;
  --num_sequences_of_others_;
  if (tenant.num_sequences == 0 && !tenant.name.empty()) unlisted_.erase(unlisted_.find(tenant.name));
}

void Tenants::Charge(Tenant& tenant, const ServedTokens& tokens) {
  const int64_t cost = tokens.prompt_tokens + kCostOfGenerated * tokens.generated_tokens + tokens.rejected_drafts;
  tenant.service_tokens += cost;
  tenant.service += static_cast<double>(cost) / tenant.rule.weight;
  greatest_service_ = std::max(greatest_service_, tenant.service);
  if (!tenant.is_listed) service_tokens_of_others_ += cost;
}

}  // namespace latentd
