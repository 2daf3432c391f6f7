#include "server/process/flight_dumps.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/file.h"
#include "server/process/logging.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr size_t kMaxBytes = 1 << 20;

void RecordSteps(int count, FlightRecorder& recorder) {
  for (int i = 0; i < count; ++i) recorder.Record(FlightDecision::kStep, {}, {i, 1, 2, 3});
}

class FlightDumpsTest : public testing::Test {
 protected:
  FlightDumpsTest() { recorder_.SetTime(clock_.Now()); }

  FlightDumps::Options Options() const {
    return {.directory = directory_.path().string(), .fingerprint = "tiny cpu fp32"};
  }
  std::vector<std::filesystem::path> Files() const {
    const std::filesystem::directory_iterator files(directory_.path());
    return {begin(files), end(files)};
  }
  FlightDump OnlyDump() const {
    const std::vector<std::filesystem::path> files = Files();
    EXPECT_THAT(files, SizeIs(1));
    return ReadFlightDump(ReadFile(files.at(0), kMaxBytes).value()).value();
  }

  TemporaryDirectory directory_;
  ManualClock clock_;
  FlightRecorder recorder_{256};
};

TEST_F(FlightDumpsTest, TakenDumpHasTheNewestEntriesAndTheTime) {
  RecordSteps(10, recorder_);
  clock_.Advance(std::chrono::seconds(5));
  const FlightDump dump = TakeFlightDump(recorder_, 3, clock_);
  EXPECT_EQ(dump.num_recorded, 10u);
  ASSERT_THAT(dump.entries, SizeIs(3));
  EXPECT_EQ(dump.entries[0].numbers[0], 7);
  EXPECT_EQ(dump.clock_nanoseconds - dump.entries[2].nanoseconds, 5'000'000'000);
  EXPECT_GT(dump.unix_nanoseconds, 1'700'000'000'000'000'000);
}

TEST_F(FlightDumpsTest, SavedFileIsADump) {
  RecordSteps(1000, recorder_);
  FlightDumps(Options(), clock_).Save(recorder_, "stall");
  const FlightDump dump = OnlyDump();
  EXPECT_EQ(dump.fingerprint, "tiny cpu fp32");
  EXPECT_EQ(dump.num_recorded, 1000u);
  ASSERT_THAT(dump.entries, SizeIs(255));
  for (int i = 0; i < 255; ++i) EXPECT_EQ(dump.entries[static_cast<size_t>(i)].numbers[0], 745 + i);
  const std::string name = Files()[0].filename().string();
  EXPECT_THAT(name, StartsWith("latentd-2"));
  EXPECT_TRUE(name.ends_with("-stall-1.flight")) << name;
}

TEST_F(FlightDumpsTest, ManyStallsFillNoDisk) {
  FlightDumps dumps(Options(), clock_);
  for (int i = 0; i < 40; ++i) dumps.Save(recorder_, "stall");
  EXPECT_THAT(Files(), SizeIs(16));
}

TEST_F(FlightDumpsTest, NothingIsSavedWithoutADirectory) {
  FlightDumps dumps({.directory = "", .fingerprint = "x"}, clock_);
  dumps.Save(recorder_, "stall");
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(FlightDumpsTest, DirectoryIsCheckedInOneLine) {
  const std::filesystem::path file = directory_.path() / "file";
  WriteFile(file, "x");
  EXPECT_TRUE(CheckRecorderDirectory("").ok());
  EXPECT_TRUE(CheckRecorderDirectory(directory_.path()).ok());
  for (const std::filesystem::path& bad : {file, directory_.path() / "nothing"}) {
    EXPECT_THAT(std::string(CheckRecorderDirectory(bad).message()),
                HasSubstr("recorder-dir: expected a directory that can be written to, found \"" + bad.string()));
  }
}

using FlightDumpsDeathTest = FlightDumpsTest;

// The process that dies is a copy of this one: its file stays.
TEST_F(FlightDumpsDeathTest, FailedCheckSavesTheRecorderAndNamesTheFile) {
  RecordSteps(5, recorder_);
  FlightDumps dumps(Options(), clock_);
  dumps.SaveOnFailedCheck(recorder_);
  const int rows = 2;
  EXPECT_DEATH(CHECK_EQ(rows, 3), "rows == 3 .2 vs 3.\nlatentd: flight recorder: .*-check.flight");
  EXPECT_EQ(OnlyDump().num_recorded, 5u);
}

TEST_F(FlightDumpsDeathTest, FailedCheckSaysThatNothingWasSaved) {
  FlightDumps nowhere({}, clock_);
  nowhere.SaveOnFailedCheck(recorder_);
  EXPECT_DEATH(CHECK(false), "latentd: flight recorder: not saved, because recorder-dir names no directory");
  FlightDumps gone({.directory = (directory_.path() / "gone").string()}, clock_);
  gone.SaveOnFailedCheck(recorder_);
  EXPECT_DEATH(CHECK(false), "latentd: flight recorder: not saved to .*gone");
}

TEST_F(FlightDumpsDeathTest, ForgottenRecorderIsNotTouched) {
  FlightDumps(Options(), clock_).SaveOnFailedCheck(recorder_);
  EXPECT_DEATH(CHECK(false), "check failed: false\n$");
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace latentd
