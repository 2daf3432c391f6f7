// Who shares the engine, and what each had of it. Virtual service is what was computed for a tenant by its weight: of
// two that both wait, the one with less goes first. Owned by the Scheduler; engine thread only.
//
// Credit: a tenant that begins to wait has at least the least service of those that wait already, or the greatest of
// all where none waits. So idle time gives no credit over those that competed meanwhile, and the time in which nothing
// had to wait leaves no debt. A tenant that only has running sequences is not asked: it wants no more than it gets, and
// a newcomer at its low level would go before all that wait.
//
// Names that are not listed come from clients, so they are bounded: each has an account of its own while it has
// sequences, kMostUnlisted at most; what comes beyond shares the account of requests without a name. An account that
// ends is forgotten, with a debt that it may have: a new name would shed that as well.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/schedule/tenant_rules.h"

namespace latentd {

// Prompt tokens that came from the prefix cache, and what is computed again after a preemption, cost nothing.
struct ServedTokens {
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t rejected_drafts = 0;  // computed, as those of a prompt are
};
inline constexpr int64_t kCostOfGenerated = 2;  // prompt tokens: a decode row takes more time than one of them

// A tenant's account.
struct Tenant {
  const std::string name;
  const TenantRule rule;
  const bool is_listed;
  const uint64_t number;       // among all accounts that ever were: the older goes first at equal service
  double service = 0.0;        // virtual, only grows
  int64_t service_tokens = 0;  // prompt tokens + kCostOfGenerated * generated + rejected drafts
  int num_sequences = 0;       // in whatever phase
};

class Tenants {
 public:
  static constexpr int kMostUnlisted = 128;  // the queue looks at each of those that wait

  explicit Tenants(TenantRules rules);

  // A sequence comes, and goes. An account that is not listed ends with its last one.
  Tenant& Enter(std::string_view name);
  void Leave(Tenant& tenant);
  void Charge(Tenant& tenant, const ServedTokens& tokens);

  // The greatest service of all, those included that were forgotten.
  double greatest_service() const { return greatest_service_; }

  // Runs `visit(const Tenant&)` for each listed one, by name.
  template <class Visit>
  void ForEachListed(const Visit& visit) const {
    for (const auto& [name, tenant] : listed_) visit(tenant);
  }
  // All others together, the forgotten ones too.
  int64_t service_tokens_of_others() const { return service_tokens_of_others_; }
  int num_sequences_of_others() const { return num_sequences_of_others_; }
  const TenantRules& rules() const { return rules_; }

 private:
  using Accounts = std::map<std::string, Tenant, std::less<>>;

  Tenant& Open(std::string_view name);

  const TenantRules rules_;
  Accounts listed_;
  Accounts unlisted_;  // with sequences; "" stays, for all that have no account of their own
  uint64_t num_opened_ = 0;
  double greatest_service_ = 0.0;
  int64_t service_tokens_of_others_ = 0;
  int num_sequences_of_others_ = 0;
};

}  // namespace latentd
