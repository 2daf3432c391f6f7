// Threads and memory as control groups grant them, from files like those of /proc and /sys.
#include "base/processors.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "base/available_memory.h"

namespace latentd::cpu {
namespace {

namespace fs = std::filesystem;

class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "latentd-machine-XXXXXX").string();
    root_ = mkdtemp(name.data());
    Write("proc/meminfo", "MemAvailable:   8000 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  double Quota() const { return FindProcessors(root_).quota; }
  size_t Memory() const { return AvailableMemory(root_); }

  fs::path root_;
};

TEST_F(MachineTest, NoGroupsNoQuota) { EXPECT_TRUE(std::isinf(Quota())); }

TEST_F(MachineTest, QuotaOfVersion2IsTheLeastOfAllGroupsAbove) {
  Write("proc/self/cgroup", "0::/a/b/c\n");
  Write("sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 4.0);
  Write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 4.0);
  Write("sys/fs/cgroup/a/cpu.max", "75000 50000\n");
  EXPECT_DOUBLE_EQ(Quota(), 1.5);
  Write("sys/fs/cgroup/cpu.max", "50000 100000\n");  // a container's own group, mounted as the top
  EXPECT_DOUBLE_EQ(Quota(), 0.5);
}

TEST_F(MachineTest, QuotaOfVersion1IsTheLeastOfAllGroupsAbove) {
  Write("proc/self/cgroup", "5:cpuacct:/x\n4:cpu:/a/b\n3:memory:/y\n0::/\n");
  Write("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_TRUE(std::isinf(Quota()));
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "250000\n");
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 2.5);
}

TEST_F(MachineTest, GroupsAreFoundWhereTheyAreMounted) {
  Write("proc/self/cgroup", "2:cpu,cpuacct:/docker/0123/inner\n1:memory:/docker/0123\n0::/elsewhere\n");
  Write("proc/self/mountinfo",
        "31 23 0:28 / /groups rw - tmpfs tmpfs rw\n"
        "32 31 0:29 /docker/0123 /groups/time ro,nosuid shared:9 master:1 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 31 0:30 /docker/0123 /groups/memory rw - cgroup cgroup rw,memory\n");
  Write("groups/time/inner/cpu.cfs_quota_us", "300000\n");
  Write("groups/time/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 3.0);
  Write("groups/time/cpu.cfs_quota_us", "120000\n");
  Write("groups/time/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 1.2);
  Write("groups/memory/memory.limit_in_bytes", "3000000\n");
  EXPECT_EQ(Memory(), 3000000u);
}

TEST_F(MachineTest, HybridMountsKeepTheirVersionsApart) {
  Write("proc/self/cgroup", "1:cpu:/\n0::/\n");
  Write("proc/self/mountinfo",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/unified/memory.max", "2000000\n");
  EXPECT_EQ(Memory(), 2000000u);
  Write("sys/fs/cgroup/unified/cpu.max", "70000 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 0.7);
}

TEST_F(MachineTest, PathsOutsideTheMountAndBrokenLinesAreNoHarm) {
  Write("proc/self/cgroup", "0::/../sibling\nnonsense\n1:cpu\n:::\n");
  Write("proc/self/mountinfo", "41 31\n42 31 0:38 /other /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n- - -\n");
  Write("sys/fs/cgroup/cpu.max", "rubbish\n");
  Write("sys/fs/cgroup/memory.max", "1500000\n");
  EXPECT_TRUE(std::isinf(Quota()));
  EXPECT_EQ(Memory(), 1500000u);
}

TEST_F(MachineTest, MemoryHighBoundsLikeMemoryMax) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("sys/fs/cgroup/a/memory.max", "5000000\n");
  Write("sys/fs/cgroup/a/memory.high", "2000000\n");
  Write("sys/fs/cgroup/a/memory.current", "500000\n");
  EXPECT_EQ(Memory(), 1500000u);
}

TEST_F(MachineTest, MemoryOfVersion1KnowsLimitsAboveTheContainer) {
  Write("proc/self/cgroup", "9:memory:/docker/0123\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
  Write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 500000\nhierarchical_memory_limit 4000000\n");
  EXPECT_EQ(Memory(), 3500000u);
}

TEST(Processors, AffinityIsTheProcesss) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(FindProcessors().allowed, CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(FindProcessors().allowed, 1);
  EXPECT_EQ(FindComputeThreads().count, 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Processors, ThreadsAreTheWholeProcessorsThatAreGranted) {
  struct Case {
    ProcessorFacts facts;
    int threads;
    const char* reason;
  };
  for (const Case& c :
       {Case{{.online = 2, .allowed = 2}, 2, "2 processors"}, Case{{.online = 1, .allowed = 1}, 1, "1 processor"},
        Case{{.online = 8, .allowed = 3}, 3, "the affinity allows 3 of 8 processors"},
        Case{{.online = 2, .allowed = 2, .quota = 0.5},
             1,
             "a cgroup's quota of 0.5 processors, 2 "
             "processors allowed"},
        Case{{.online = 8, .allowed = 8, .quota = 2.7},
             2,
             "a cgroup's quota of 2.7 processors, 8 "
             "processors allowed"},
        Case{{.online = 8, .allowed = 2, .quota = 4.0}, 2, "the affinity allows 2 of 8 processors"},
        Case{{.online = 4, .allowed = 4, .quota = 4.0}, 4, "4 processors"},
        Case{{.online = 4, .allowed = 0, .quota = 0.01},
             1,
             "a cgroup's quota of 0.01 processors, 1 "
             "processor allowed"}}) {
    const ComputeThreads threads = ThreadsFor(c.facts);
    EXPECT_EQ(threads.count, c.threads) << c.reason;
    EXPECT_EQ(threads.reason, c.reason);
  }
}

}  // namespace
}  // namespace latentd::cpu
