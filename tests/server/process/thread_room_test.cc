// Lowers limits of its own process, so it has a binary of its own.
#include "server/process/thread_room.h"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace latentd::cpu {
namespace {

// In pages: `column` 0 is all that is mapped, 5 the data.
size_t PagesOfThisProcess(int column) {
  std::ifstream file("/proc/self/statm");
  size_t number = 0;
  for (int i = 0; i <= column; ++i) file >> number;
  return number;
}

absl::Status CheckStackRoomUnder(const std::vector<std::pair<__rlimit_resource, size_t>>& limits) {
  std::vector<rlimit> before(limits.size());
  for (size_t i = 0; i < limits.size(); ++i) {
    getrlimit(limits[i].first, &before[i]);
    const rlimit low{.rlim_cur = limits[i].second, .rlim_max = before[i].rlim_max};
    setrlimit(limits[i].first, &low);
  }
  const absl::Status status = CheckStackRoom(1);
  for (size_t i = 0; i < limits.size(); ++i) setrlimit(limits[i].first, &before[i]);
  return status;
}

TEST(ThreadRoom, NamesTheLimitThatIsReached) {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t half = size_t{36} << 20;  // of what it looks for: a stack, and what a start takes
  const size_t mapped = PagesOfThisProcess(0) * page_bytes;
  const size_t data = PagesOfThisProcess(5) * page_bytes;
  const auto names = [](const char* flag) { return testing::HasSubstr(std::string("raise ulimit -") + flag); };
  EXPECT_THAT(std::string(CheckStackRoomUnder({{RLIMIT_AS, mapped + half}}).message()), names("v"));
  EXPECT_THAT(std::string(CheckStackRoomUnder({{RLIMIT_DATA, data + half}}).message()), names("d"));
  // Below the other one, and yet not the one that is reached.
  const size_t enough = mapped + 2 * half - page_bytes;
  ASSERT_GT(enough, data + 2 * half);
  EXPECT_THAT(std::string(CheckStackRoomUnder({{RLIMIT_AS, enough}, {RLIMIT_DATA, enough - page_bytes}}).message()),
              names("v"));
}

TEST(ThreadRoom, ThereIsSomeForAFew) { EXPECT_TRUE(CheckThreadRoom(8).ok()); }

}  // namespace
}  // namespace latentd::cpu
