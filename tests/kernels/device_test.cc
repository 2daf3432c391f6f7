// The CPU's memory: what Allocate promises, and how much the machine or the container has.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hwy/base.h>
#include <sys/resource.h>

#include "base/available_memory.h"
#include "kernels/cpu/cpu_device.h"

namespace latentd::cpu {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMiB = size_t{1} << 20;

TEST(CpuDevice, MemoryIsZeroedAndAligned) {
  CpuDevice device;
  for (const size_t bytes : {size_t{1}, size_t{100}, kMiB, 4 * kMiB, 9 * kMiB + 5}) {
    const absl::StatusOr<DeviceBuffer> buffer = device.Allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->As<uint8_t>()) % 64, 0u);
    uint8_t any = 0;
    for (size_t i = 0; i < bytes; ++i) any |= buffer->As<uint8_t>()[i];
    EXPECT_EQ(any, 0);
    buffer->As<uint8_t>()[bytes - 1] = 1;
  }
}

// Weights of experts are such buffers.
TEST(CpuDevice, BuffersOfAMegabyteLieSideBySideAndAreZeroAgain) {
  if (HWY_IS_ASAN) GTEST_SKIP() << "AddressSanitizer has each by itself";
  CpuDevice device;
  std::vector<DeviceBuffer> buffers;
  for (int round = 0; round < 2; ++round) {
    const uint8_t* before = nullptr;
    int num_neighbours = 0;
    for (int i = 0; i < 100; ++i) {
      absl::StatusOr<DeviceBuffer> buffer = device.Allocate(kMiB + 1);
      ASSERT_TRUE(buffer.ok()) << buffer.status();
      auto* values = buffer->As<uint8_t>();
      EXPECT_EQ(values[0] | values[kMiB], 0);
      values[0] = values[kMiB] = 1;
      num_neighbours += before != nullptr && values - before == std::ptrdiff_t{kMiB + 4096} ? 1 : 0;
      before = values;
      buffers.push_back(*std::move(buffer));
    }
    EXPECT_GE(num_neighbours, 90) << "few mappings hold them all";
    std::shuffle(buffers.begin(), buffers.end(), std::minstd_rand(1));
    buffers.clear();
  }
}

TEST(CpuDevice, RefusesMoreThanThereIs) {
  CpuDevice device(10 * kMiB);
  absl::StatusOr<DeviceBuffer> first = device.Allocate(6 * kMiB);
  ASSERT_TRUE(first.ok());
  const absl::Status refusal = device.Allocate(6 * kMiB).status();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refusal.message()), testing::HasSubstr("6.0 MiB of memory asked for, 4.0 MiB available"));
  *first = DeviceBuffer();
  EXPECT_TRUE(device.Allocate(6 * kMiB).ok()) << "freed memory is available again";
}

TEST(CpuDevice, RefusesMoreThanTheMachineHas) {
  CpuDevice device;
  EXPECT_EQ(device.Allocate(size_t{1} << 60).status().code(), absl::StatusCode::kResourceExhausted);
}

constexpr uintptr_t kHugePage = 2 * kMiB;

// The whole huge pages of a mapping that asks for them: flag hg of /proc/self/smaps.
struct Range {
  uintptr_t first = 0;
  uintptr_t end = 0;
};
std::vector<Range> HugePageRanges() {
  std::vector<Range> ranges;
  std::ifstream smaps("/proc/self/smaps");
  Range mapping;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t first = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2) mapping = {first, end};
    if (!line.starts_with("VmFlags:") || line.find(" hg") == std::string::npos) continue;
    ranges.push_back({(mapping.first + kHugePage - 1) / kHugePage * kHugePage, mapping.end / kHugePage * kHugePage});
  }
  return ranges;
}

// What the kernel is asked for; how many huge pages it has to give depends on the machine's other programs.
TEST(CpuDevice, MatricesOfAnySizeLieOnHugePages) {
  if (HWY_IS_ASAN) GTEST_SKIP() << "AddressSanitizer has some in its heap";
  std::string enabled;
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::getline(file, enabled);
  if (enabled.empty() || enabled.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "the kernel gives no huge pages: " << enabled;
  }
  CpuDevice device;
  std::vector<DeviceBuffer> matrices;
  for (const size_t bytes : {size_t{1408} * 2048, 7 * kMiB, size_t{5000}, kMiB, 40 * kMiB}) {
    for (int i = 0; i < 5; ++i) matrices.push_back(device.Allocate(bytes).value());
  }
  const std::vector<Range> ranges = HugePageRanges();
  for (const DeviceBuffer& matrix : matrices) {
    const auto first = reinterpret_cast<uintptr_t>(matrix.As<std::byte>());
    EXPECT_TRUE(std::any_of(ranges.begin(), ranges.end(), [&](const Range& range) {
      return first >= range.first && first + matrix.bytes() <= range.end;
    })) << matrix.bytes();
  }
}

class AvailableMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "latentd-memory-XXXXXX").string();
    root_ = mkdtemp(name.data());
    Write("proc/meminfo", "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:   8000 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  size_t Available() const { return AvailableMemory(root_); }

  fs::path root_;
};

TEST_F(AvailableMemoryTest, WithoutGroupsIsWhatTheKernelSays) { EXPECT_EQ(Available(), 8000u * 1024); }

TEST_F(AvailableMemoryTest, UnlimitedGroupsDoNotMatter) {
  Write("proc/self/cgroup", "0::/service\n");
  Write("sys/fs/cgroup/service/memory.max", "max\n");
  EXPECT_EQ(Available(), 8000u * 1024);
}

TEST_F(AvailableMemoryTest, TheTightestParentGroupCounts) {
  Write("proc/self/cgroup", "0::/parent/child\n");
  Write("sys/fs/cgroup/parent/child/memory.max", "5000000\n");
  Write("sys/fs/cgroup/parent/child/memory.current", "1000000\n");
  Write("sys/fs/cgroup/parent/memory.max", "3000000\n");
  Write("sys/fs/cgroup/parent/memory.current", "2500000\n");
  Write("sys/fs/cgroup/parent/memory.stat", "anon 7\ninactive_file 300000\nactive_file 200000\n");
  EXPECT_EQ(Available(), 1000000u) << "page cache can be dropped";
}

TEST_F(AvailableMemoryTest, AGroupMountedAsRootCounts) {
  Write("proc/self/cgroup", "12:cpu:/\n9:memory:/docker/0123\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000\n");
  Write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 500000\n");
  EXPECT_EQ(Available(), 3000000u);
}

// Limits that no process reaches, of which this one is said to have used nearly all.
TEST_F(AvailableMemoryTest, LimitsOfTheProcessCount) {
  constexpr size_t kLimit = size_t{1} << 50;
  for (const auto& [resource, field] : {std::pair{RLIMIT_AS, "VmSize"}, std::pair{RLIMIT_DATA, "VmData"}}) {
    Write("proc/self/status", absl::StrFormat("VmPeak: 1 kB\n%s:\t%d kB\n", field, kLimit / 1024 - 900));
    EXPECT_EQ(Available(), 8000u * 1024);
    rlimit before{};
    ASSERT_EQ(getrlimit(resource, &before), 0);
    const rlimit low = {.rlim_cur = kLimit, .rlim_max = before.rlim_max};
    ASSERT_EQ(setrlimit(resource, &low), 0);
    EXPECT_EQ(Available(), 900u * 1024) << field;
    ASSERT_EQ(setrlimit(resource, &before), 0);
  }
}

TEST_F(AvailableMemoryTest, OverTheLimitIsNothing) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "1000\n");
  Write("sys/fs/cgroup/memory.current", "2000\n");
  EXPECT_EQ(Available(), 0u);
}

}  // namespace
}  // namespace latentd::cpu
