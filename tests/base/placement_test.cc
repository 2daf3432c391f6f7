// Which processors threads are placed on, from topologies like those of /sys.
#include "base/placement.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "tests/support/temporary_directory.h"

namespace latentd::cpu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Placement, ListsAreNumbersAndRanges) {
  EXPECT_THAT(ParseProcessors("0-3,8").value(), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(ParseProcessors("5,1").value(), ElementsAre(5, 1)) << "thread 0 on 5";
  EXPECT_EQ(ProcessorsText({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(ProcessorsText({5, 1}), "5,1");
  for (const char* text :
       {"", ",", "1,", "-1", "1-", "3-1", "a", "1 ", "+1", "0x1", "1,1", "0-2,2", "1-2-3", "99999999999", "1024"}) {
    EXPECT_FALSE(ParseProcessors(text).ok()) << text;
  }
}

TEST(Placement, AnythingElseIsRefusedByName) {
  for (const char* pinning : {"auto", "on", "off", "0-1"}) EXPECT_TRUE(CheckPinning(pinning).ok()) << pinning;
  EXPECT_THAT(std::string(CheckPinning("yes").message()), HasSubstr("expected auto, on, off or a list"));
}

// The processors that this process may use stand for a machine of as many.
class PlacementTest : public testing::Test {
 protected:
  PlacementTest() {
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(static_cast<size_t>(i), &set)) allowed_.push_back(i);
    }
  }

  int num_allowed() const { return static_cast<int>(allowed_.size()); }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  Placement Place(std::string_view pinning, int num_asked) const {
    return PlaceThreads(pinning, num_asked, root_.path()).value();
  }
  std::string Refusal(std::string_view pinning, int num_asked) const {
    return std::string(PlaceThreads(pinning, num_asked, root_.path()).status().message());
  }

  TemporaryDirectory root_;
  std::vector<int> allowed_;
};

TEST_F(PlacementTest, OffLeavesThemToTheKernel) { EXPECT_THAT(Place("off", 3).processors, IsEmpty()); }

TEST_F(PlacementTest, OnGivesEachAProcessorOfItsOwn) {
  EXPECT_EQ(Place("on", num_allowed()).processors, allowed_);
  EXPECT_THAT(Refusal("on", num_allowed() + 1), HasSubstr("expected a processor for each of"));
}

TEST_F(PlacementTest, WholeCoresComeFirst) {
  if (num_allowed() < 2) GTEST_SKIP() << "one processor";
  // All of them are threads of one core but the last.
  const std::string siblings = ProcessorsText(std::vector<int>(allowed_.begin(), allowed_.end() - 1));
  for (const int processor : allowed_) {
    const bool is_last = processor == allowed_.back();
    Write(absl::StrCat("sys/devices/system/cpu/cpu", processor, "/topology/thread_siblings_list"),
          is_last ? absl::StrCat(processor) : siblings);
  }
  EXPECT_THAT(Place("on", 2).processors, ElementsAre(allowed_.front(), allowed_.back()));
}

TEST_F(PlacementTest, AutoPinsWhereThereAreNodesAndNothingIsLeftOver) {
  Write("sys/devices/system/node/node0/cpulist", "0-7");
  EXPECT_THAT(Place("auto", num_allowed()).processors, IsEmpty()) << "one node";
  Write("sys/devices/system/node/node1/cpulist", "");
  EXPECT_THAT(Place("auto", num_allowed()).processors, IsEmpty()) << "a node of memory alone";
  Write("sys/devices/system/node/node1/cpulist", "8-15");
  EXPECT_EQ(Place("auto", num_allowed()).processors, allowed_);
  EXPECT_THAT(Place("auto", num_allowed() + 1).processors, IsEmpty());
}

TEST_F(PlacementTest, AListNamesTheProcessorsAndTheirNumber) {
  const std::string all = ProcessorsText(allowed_);
  EXPECT_EQ(Place(all, 0).num_threads, num_allowed());
  EXPECT_EQ(Place(all, 0).processors, allowed_);
  EXPECT_THAT(Place(all, 1).processors, ElementsAre(allowed_.front()));
  EXPECT_THAT(Refusal(all, num_allowed() + 1), HasSubstr("name more processors"));
  if (allowed_.back() + 1 < CPU_SETSIZE) {
    EXPECT_THAT(Refusal(absl::StrCat(allowed_.back() + 1), 0), HasSubstr("which the affinity allows, found"));
  }
}

TEST_F(PlacementTest, AThreadStaysWhereItIsPinned) {
  cpu_set_t before, after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  PinThisThread(allowed_.back());
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(CPU_COUNT(&after), 1);
  EXPECT_TRUE(CPU_ISSET(static_cast<size_t>(allowed_.back()), &after));
}

}  // namespace
}  // namespace latentd::cpu
