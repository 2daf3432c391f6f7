#include "engine/schedule/tenants.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/schedule/standings.h"

namespace latentd {
namespace {

TEST(Tenants, ServiceIsWhatWasComputedByWeight) {
  Tenants tenants(ThreeTenants());
  Tenant& a = tenants.Enter("a");
  Tenant& c = tenants.Enter("c");
  tenants.Charge(a, {.prompt_tokens = 100, .generated_tokens = 10});
  tenants.Charge(c, {.prompt_tokens = 100, .generated_tokens = 10});
  EXPECT_EQ(a.service, 120.0);
  EXPECT_EQ(c.service, 60.0);
  EXPECT_EQ(c.service_tokens, 120);
  EXPECT_EQ(tenants.greatest_service(), 120.0);
}

TEST(Tenants, AListedNameKeepsItsServiceWhileItIsAway) {
  Tenants tenants(ThreeTenants());
  Tenant& a = tenants.Enter("a");
  tenants.Charge(a, {.prompt_tokens = 100});
  tenants.Leave(a);
  EXPECT_EQ(tenants.Enter("a").service, 100.0);
}

TEST(Tenants, AnUnlistedNameIsForgottenWithItsLastSequence) {
  Tenants tenants({.of_others = {.weight = 4.0}});
  Tenant& first = tenants.Enter("x");
  EXPECT_EQ(&tenants.Enter("x"), &first);
  tenants.Charge(first, {.prompt_tokens = 100});
  EXPECT_EQ(first.service, 25.0) << "the rule of others";
  const uint64_t number = first.number;
  tenants.Leave(first);
  EXPECT_EQ(tenants.Enter("x").number, number) << "one of its sequences is left";
  tenants.Leave(first);
  tenants.Leave(first);
  const Tenant& again = tenants.Enter("x");
  EXPECT_GT(again.number, number);
  EXPECT_EQ(again.service, 0.0);
}

TEST(Tenants, NamesBeyondTheBoundShareTheAccountWithoutAName) {
  Tenants tenants(ThreeTenants());
  std::vector<Tenant*> own;
  for (int i = 0; i < Tenants::kMostUnlisted; ++i) own.push_back(&tenants.Enter("name " + std::to_string(i)));
  Tenant& shared = tenants.Enter("one more");
  EXPECT_EQ(shared.name, "");
  EXPECT_EQ(&tenants.Enter("and another"), &shared);
  EXPECT_EQ(&tenants.Enter(""), &shared);
  EXPECT_EQ(tenants.Enter("a").name, "a") << "listed names are not bounded";
  EXPECT_EQ(&tenants.Enter("name 7"), own[7]);
  tenants.Leave(*own[3]);
  EXPECT_EQ(tenants.Enter("one more").name, "one more");
  EXPECT_EQ(shared.num_sequences, 3);
}

TEST(Tenants, AllThatAreNotListedCountAsOne) {
  Tenants tenants(ThreeTenants());
  Tenant& x = tenants.Enter("x");
  Tenant& y = tenants.Enter("y");
  Tenant& a = tenants.Enter("a");
  tenants.Charge(x, {.prompt_tokens = 10});
  tenants.Charge(y, {.generated_tokens = 10});
  tenants.Charge(a, {.prompt_tokens = 1000});
  tenants.Leave(x);
  EXPECT_EQ(tenants.service_tokens_of_others(), 30);
  EXPECT_EQ(tenants.num_sequences_of_others(), 1);
  std::vector<std::string> listed;
  tenants.ForEachListed(
      [&](const Tenant& tenant) { listed.push_back(tenant.name + " " + std::to_string(tenant.service_tokens)); });
  EXPECT_EQ(listed, (std::vector<std::string>{"a 1000", "b 0", "c 0"}));
}

}  // namespace
}  // namespace latentd
