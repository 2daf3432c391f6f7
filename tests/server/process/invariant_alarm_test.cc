#include "server/process/invariant_alarm.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class InvariantAlarmTest : public testing::Test {
 protected:
  void Raise(std::string_view broken) { alarm_.Raise(absl::InternalError(std::string(broken)), recorder_, dumps_); }

  TemporaryDirectory directory_;
  SteadyClock clock_;
  Metrics metrics_;
  ServingState state_;
  DrainState drain_;
  StopRequest stop_;
  FlightRecorder recorder_{8};
  FlightDumps dumps_{{.directory = directory_.path().string()}, clock_};
  InvariantAlarm alarm_{{.metrics = metrics_, .state = state_, .drain = drain_, .stop = stop_, .drain_seconds = 9.0}};
};

TEST_F(InvariantAlarmTest, EndsTheDaemonAsAFailure) {
  state_.MoveTo(ServingState::Stage::kServing);
  EXPECT_TRUE(alarm_.status().ok());
  Raise("block 7 is held twice");
  EXPECT_EQ(state_.view().stage, ServingState::Stage::kDraining);
  EXPECT_FALSE(state_.view().is_ready());
  EXPECT_EQ(drain_.stage(), DrainState::Stage::kAsked);
  EXPECT_GT(drain_.deadline(), clock_.Now());
  EXPECT_LE(drain_.deadline(), clock_.Now() + FromSeconds(9.0));
  EXPECT_TRUE(stop_.AwaitOr([] { return true; })) << "the main thread was not asked to end";
  EXPECT_FALSE(stop_.TakeSignal().has_value());
  EXPECT_EQ(metrics_.Snapshot().kv_invariant_violations, 1u);
  EXPECT_THAT(std::string(alarm_.status().message()), HasSubstr("an invariant is broken: block 7 is held twice"));
  const std::filesystem::directory_iterator files(directory_.path());
  const std::vector<std::filesystem::path> saved(begin(files), end(files));
  ASSERT_THAT(saved, SizeIs(1));
  EXPECT_THAT(saved[0].string(), HasSubstr("-invariant-1.flight"));
}

TEST_F(InvariantAlarmTest, TheFirstOneIsTold) {
  Raise("first");
  Raise("second");
  EXPECT_THAT(std::string(alarm_.status().message()), HasSubstr("first"));
  EXPECT_EQ(metrics_.Snapshot().kv_invariant_violations, 2u);
}

TEST_F(InvariantAlarmTest, DrainThatWasAskedForGoesOn) {
  const TimePoint deadline = clock_.Now() + FromSeconds(1.0);
  ASSERT_TRUE(drain_.Ask(deadline));
  Raise("late");
  EXPECT_EQ(drain_.deadline(), deadline);
  EXPECT_FALSE(alarm_.status().ok());
}

}  // namespace
}  // namespace latentd
