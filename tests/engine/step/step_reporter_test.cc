#include "engine/step/step_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;

TEST(StepReporter, DraftsAreCountedByTheirPlaceInTheirRow) {
  Metrics metrics;
  const Tenants tenants{TenantRules()};
  const SchedulerLevels levels{.tenants = &tenants};
  StepReporter reporter(metrics, levels);
  StepRecord record{.num_rows = 3, .num_tokens = 9, .auto_drafts = 4};
  record.CountDrafts(3, 2);
  record.CountDrafts(3, 1);
  record.CountDrafts(1, 0);
  reporter.Report(record, levels);
  record = {.num_rows = 1, .num_tokens = 2, .auto_drafts = 1};
  record.CountDrafts(1, 1);
  reporter.Report(record, levels);
  const MetricsData data = metrics.Snapshot();
  EXPECT_THAT(data.spec_drafted_tokens, ElementsAre(4, 2, 2, 0, 0, 0, 0, 0));
  EXPECT_THAT(data.spec_accepted_tokens, ElementsAre(3, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(data.spec_k, 1) << "what was chosen last";
  reporter.Report({}, levels);
  EXPECT_EQ(metrics.Snapshot().spec_k, 1) << "nothing was chosen where nothing was computed";
}

}  // namespace
}  // namespace latentd
