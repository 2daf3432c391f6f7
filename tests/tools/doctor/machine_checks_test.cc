#include "tools/doctor/machine_checks.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Machine : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((folder_.path() / path).parent_path());
    std::ofstream(folder_.path() / path) << text;
  }
  void InGroup() {
    Write("proc/self/cgroup", "0::/a\n");
    Write("sys/fs/cgroup/a/memory.max", "2147483648\n");
    Write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    Write("sys/fs/cgroup/a/pids.max", "512\n");
  }
  Findings Cgroups() const {
    Findings findings;
    CheckCgroups(folder_.path(), findings);
    return findings;
  }
  Finding HugePages() const {
    Findings findings;
    CheckHugePages(folder_.path(), findings);
    return findings.front();
  }

  const TemporaryDirectory folder_;
};

Finding Clock(const ClockFacts& facts) {
  Findings findings;
  CheckClock(facts, findings);
  return findings.front();
}

Finding Cores(int threads, const cpu::ProcessorFacts& facts) {
  Findings findings;
  Config config;
  config.threads = threads;
  config.pin_threads = "off";
  CheckCores(config, facts, findings);
  return findings.front();
}

TEST_F(Machine, LimitsOfGroupsAreNamed) {
  InGroup();
  const Findings findings = Cgroups();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].severity, Severity::kOk);
  EXPECT_EQ(findings[0].found, "memory 2048.0 MiB, cpu 1.5, pids 512");
}

TEST_F(Machine, WithoutGroupsNothingIsLimited) {
  EXPECT_EQ(Cgroups().front().found, "memory unlimited, cpu unlimited, pids unlimited");
}

TEST_F(Machine, ThrottlingAndKilledProcessesAreWarnedOf) {
  InGroup();
  Write("sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_periods 1000\nnr_throttled 200\n");
  Write("sys/fs/cgroup/a/memory.events", "low 0\noom 3\noom_kill 2\n");
  const Findings findings = Cgroups();
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_THAT(findings[0].found, HasSubstr("throttled in 200 of 1000 periods"));
  EXPECT_THAT(findings[1].found, HasSubstr("killed 2 processes"));
}

TEST_F(Machine, RareThrottlingIsNoNews) {
  InGroup();
  Write("sys/fs/cgroup/a/cpu.stat", "nr_periods 1000\nnr_throttled 9\n");
  EXPECT_EQ(Cgroups().front().severity, Severity::kOk);
}

TEST_F(Machine, HugePagesAreWantedOnDemandAtLeast) {
  EXPECT_EQ(HugePages().severity, Severity::kWarning);
  const std::string file = "sys/kernel/mm/transparent_hugepage/enabled";
  Write(file, "always madvise [never]\n");
  EXPECT_EQ(HugePages().severity, Severity::kWarning);
  Write(file, "always [madvise] never\n");
  EXPECT_EQ(HugePages().severity, Severity::kOk);
  Write(file, "[always] madvise never\n");
  EXPECT_EQ(HugePages().severity, Severity::kOk);
}

TEST(Cores, MoreThreadsThanTheMachineGrantsAreWarnedOf) {
  const Finding finding = Cores(8, {.online = 16, .allowed = 16, .quota = 2.5});
  EXPECT_EQ(finding.severity, Severity::kWarning);
  EXPECT_THAT(finding.found, HasSubstr("8 compute threads, a cgroup's quota of 2.5 processors"));
  EXPECT_THAT(finding.advice, HasSubstr("--threads=2"));
  EXPECT_EQ(Cores(2, {.online = 16, .allowed = 16, .quota = 2.5}).severity, Severity::kOk);
}

TEST(Cores, LessThanAProcessorIsWarnedOf) {
  EXPECT_THAT(Cores(1, {.online = 2, .allowed = 2, .quota = 0.5}).advice, HasSubstr("grant at least one processor"));
}

TEST(Clock, BeforeThisProgramIsAnError) {
  EXPECT_EQ(Clock({.unix_seconds = 86400.0, .is_known = true, .is_synchronised = true}).severity, Severity::kError);
}

TEST(Clock, IsToBeSynchronised) {
  ClockFacts facts{.unix_seconds = 1.8e9, .is_known = true, .is_synchronised = true, .error_seconds = 0.25};
  EXPECT_EQ(Clock(facts).found, "synchronised, to 0.250 s at worst");
  facts.is_synchronised = false;
  EXPECT_EQ(Clock(facts).severity, Severity::kWarning);
  facts.is_known = false;
  EXPECT_EQ(Clock(facts).severity, Severity::kOk);
}

TEST(Clock, OfThisMachineIsRead) { EXPECT_GT(ReadClock().unix_seconds, 1.7e9); }

}  // namespace
}  // namespace latentd
