#include "tools/load/tenant_summary.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/tools/load/run_record.h"

namespace latentd {
namespace {

constexpr double kAlwaysMore = std::numeric_limits<double>::infinity();

TEST(FairnessIndex, IsOneWhereServiceFollowsTheWeights) {
  EXPECT_DOUBLE_EQ(FairnessIndex({{kAlwaysMore, 100.0, 1.0}, {kAlwaysMore, 300.0, 3.0}}), 1.0);
}

TEST(FairnessIndex, IsJainsWhereItDoesNot) {
  // 1 : 3 of equal weights: (0.5 + 1.5)^2 / (2 (0.25 + 2.25)).
  EXPECT_DOUBLE_EQ(FairnessIndex({{kAlwaysMore, 100.0, 1.0}, {kAlwaysMore, 300.0, 1.0}}), 0.8);
  EXPECT_DOUBLE_EQ(FairnessIndex({{kAlwaysMore, 0.0, 1.0}, {kAlwaysMore, 300.0, 1.0}}), 0.5);
}

TEST(FairnessIndex, TenantThatAsksForLittleIsNotOwedMore) {
  EXPECT_DOUBLE_EQ(FairnessIndex({{100.0, 100.0, 1.0}, {900.0, 500.0, 1.0}}), 1.0);
  EXPECT_LT(FairnessIndex({{100.0, 50.0, 1.0}, {900.0, 550.0, 1.0}}), 0.95);
}

TEST(FairnessIndex, NothingServedIsFair) { EXPECT_EQ(FairnessIndex({{10.0, 0.0, 1.0}, {10.0, 0.0, 1.0}}), 1.0); }

TEST(TenantSummary, EachHasItsOwnFigures) {
  LoadOptions options;
  options.workload.tenants = {{"a", 1.0, 2.0}, {"b", 1.0, 1.0}};
  RunResult run;
  run.records = {Succeeded({.first_token = 10, .ended = 20}, 3), Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "FULL"),
                 Succeeded({.first_token = 30, .ended = 40}, 5)};
  run.records[1].prompt_ids = 7;
  run.records[1].tenant = run.records[2].tenant = 1;
  run.served_by_tenant = {26, 13};
  const std::vector<TenantSummary> tenants = SummarizeTenants(run, options, 1.0);
  ASSERT_EQ(tenants.size(), 2u);
  EXPECT_EQ(tenants[0].sent, 1u);
  EXPECT_EQ(tenants[0].asked_tokens, 13u);
  EXPECT_EQ(tenants[0].goodput.fraction, 1.0);
  EXPECT_EQ(tenants[1].refused, 1u);
  EXPECT_EQ(tenants[1].succeeded, 1u);
  EXPECT_EQ(tenants[1].asked_tokens, 7u + 20u + 15u);
  EXPECT_EQ(tenants[1].goodput.fraction, 0.5);
  EXPECT_EQ(tenants[1].time_to_first_token.max(), 30 * kMillisecond);
  EXPECT_DOUBLE_EQ(FairnessOf(tenants, Loop::kClosed), 1.0);
}

}  // namespace
}  // namespace latentd
