#include "tools/load/shares.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(ParseTenants, TakesSharesAndWeights) {
  const std::vector<TenantShare> tenants = *ParseTenants("a:3,b:1:2.5");
  ASSERT_EQ(tenants.size(), 2u);
  EXPECT_EQ(tenants[0].name, "a");
  EXPECT_EQ(tenants[0].share, 3.0);
  EXPECT_EQ(tenants[0].weight, 1.0);
  EXPECT_EQ(tenants[1].weight, 2.5);
  for (const char* text : {"", "a", "a:", ":1", "a:0", "a:1:0", "a:1:2:3", "a:1,", "a:1,a:2", "a b:1", "a:nan"}) {
    EXPECT_FALSE(ParseTenants(text).ok()) << text;
  }
}

TEST(ParsePriorities, TakesShares) {
  const std::vector<PriorityShare> priorities = *ParsePriorities("-3:1,8:0.5");
  ASSERT_EQ(priorities.size(), 2u);
  EXPECT_EQ(priorities[0].priority, -3);
  EXPECT_EQ(priorities[1].share, 0.5);
  for (const char* text : {"", "1", "1:0", "x:1", "1.5:1"}) EXPECT_FALSE(ParsePriorities(text).ok()) << text;
}

TEST(PickShare, DealsOutTheWholeRange) {
  const std::vector<TenantShare> tenants = {{"a", 3.0}, {"b", 1.0}};
  EXPECT_EQ(PickShare(tenants, 0.0), 0u);
  EXPECT_EQ(PickShare(tenants, 0.7499), 0u);
  EXPECT_EQ(PickShare(tenants, 0.75), 1u);
  EXPECT_EQ(PickShare(tenants, 0.9999), 1u);
  EXPECT_EQ(PickShare(std::vector<TenantShare>{}, 0.5), 0u);
}

}  // namespace
}  // namespace latentd
