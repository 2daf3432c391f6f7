// A dump as latentctl prints it.
#include "tools/latentctl/flight_view.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/finish_reason.h"
#include "engine/schedule/wait_reason.h"
#include "tools/latentctl/flight_words.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kMilli = 1'000'000;
constexpr auto kMaxTokens = static_cast<int32_t>(FinishReason::kMaxTokens);
constexpr auto kCancelled = static_cast<int32_t>(FinishReason::kCancelled);
constexpr auto kRows = static_cast<int32_t>(WaitReason::kRows);

// Two requests; the second one waits, hits, is preempted and cancelled.
FlightDump SomeDump() {
  using enum FlightDecision;
  return {.fingerprint = "tiny\ncpu",
          .num_recorded = 1234,
          .clock_nanoseconds = 32'000 * kMilli,
          .unix_nanoseconds = 1'764'518'221'250'000'000,
          .entries = {
              {.nanoseconds = 1000 * kMilli, .decision = kSubmit, .request = 7, .numbers = {120, 20, 0, 1}},
              {.nanoseconds = 1000 * kMilli, .decision = kSubmit, .request = 8, .numbers = {130, 20, -3, 2}},
              {.nanoseconds = 1001 * kMilli, .decision = kAdmit, .request = 7, .numbers = {0, 0, 2}},
              {.nanoseconds = 1001 * kMilli, .decision = kChunk, .request = 7, .numbers = {0, 120}},
              {.nanoseconds = 1001 * kMilli, .decision = kWait, .numbers = {kRows, 1}},
              {.nanoseconds = 1003 * kMilli, .decision = kStep, .numbers = {1, 120, 2345, 0}},
              {.nanoseconds = 1003 * kMilli, .decision = kHit, .request = 8, .numbers = {100, 1, 12, 3}},
              {.nanoseconds = 1003 * kMilli, .decision = kCopy, .request = 8, .numbers = {4, 9, 36}},
              {.nanoseconds = 1004 * kMilli, .decision = kPreempt, .request = 8, .index = 1, .numbers = {1, 131, 3}},
              {.nanoseconds = 1004 * kMilli, .decision = kEvict, .numbers = {12}},
              {.nanoseconds = 1005 * kMilli, .decision = kCancel, .request = 8, .numbers = {kCancelled}},
              {.nanoseconds = 1005 * kMilli, .decision = kFinish, .request = 8, .numbers = {kCancelled, 1, 131}},
              {.nanoseconds = 1006 * kMilli, .decision = kFinish, .request = 7, .numbers = {kMaxTokens, 20, 139}},
              {.nanoseconds = 2000 * kMilli, .decision = kStep, .numbers = {2, 2, 1500, 2}},
          }};
}

TEST(FlightView, HeadTellsWhatWasRecordedAndHowLongAgo) {
  EXPECT_THAT(
      FlightHead(SomeDump()),
      ElementsAre("model     tiny\\ncpu", "taken     2025-11-30T15:57:01.250Z",
                  "holds     14 decisions of 1,234 decisions, over 1.000 s, the last one 30.000 s before it was "
                  "taken"));
  EXPECT_THAT(FlightHead({}), ElementsAre("taken     1970-01-01T00:00:00.000Z", "holds     no decisions"));
}

TEST(FlightView, TimelineHasALineForEachDecision) {
  EXPECT_THAT(
      FlightTimeline(SomeDump()),
      ElementsAre("    +0.000000  7        submitted: prompt of 120 tokens, at most 20 to generate",
                  "    +0.000000  8        submitted: prompt of 130 tokens, at most 20 to generate, priority -3, 2 "
                  "sequences",
                  "    +0.001000  7        admitted: 0 tokens cached, computes from 0, holds 2 blocks",
                  "    +0.001000  7        prefill of 120 tokens from 0",
                  "    +0.001000  -        left 1 sequence waiting for rows",
                  "    +0.003000  -        step of 120 tokens in 1 row, 0 decoding, in 2.345 ms",
                  "    +0.003000  8        found 100 tokens in the prefix cache (1 whole block); 12 tokens more "
                  "were evicted; 3 tokens more have another salt",
                  "    +0.003000  8        copies 36 slots of block 4 to block 9",
                  "    +0.004000  8/1      preempted for priority: 131 tokens computed, 3 blocks given back",
                  "    +0.004000  -        block 12 evicted", "    +0.005000  8        its end is asked for: cancelled",
                  "    +0.005000  8        finished, cancelled: 1 token generated, 131 computed",
                  "    +0.006000  7        finished, max_tokens: 20 tokens generated, 139 computed",
                  "    +1.000000  -        step of 2 tokens in 2 rows, 2 decoding, in 1.500 ms"));
}

TEST(FlightView, SummaryCountsHitsPreemptionsAndWaits) {
  EXPECT_THAT(
      FlightSummary(SomeDump()),
      ElementsAre("requests      2, of which 2 were submitted", "ends          2 (cancelled 1, max_tokens 1)",
                  "prefix cache  1 hit with 100 tokens, 1 copy; lost: 12 tokens to eviction, 3 to salt; 1 block "
                  "evicted",
                  "preemptions   1 (priority 1)", "waits         rows in 1 step, 1.0 sequences on average",
                  "steps         2, 1.5 rows and 61.0 tokens each; 1.500 ms at p50, 1.500 ms at p99"));
  EXPECT_THAT(FlightSummary({}),
              ElementsAre("requests      0, of which 0 were submitted", "ends          0",
                          "prefix cache  0 hits with 0 tokens, 0 copies; lost: 0 tokens to eviction, 0 to salt; 0 "
                          "blocks evicted",
                          "preemptions   0", "waits         none", "steps         none"));
}

TEST(FlightView, OneRequestIsKept) {
  FlightDump dump = SomeDump();
  KeepRequest(7, dump);
  EXPECT_THAT(FlightTimeline(dump), SizeIs(4));
  KeepRequest(0, dump);
  EXPECT_THAT(dump.entries, SizeIs(0));
  dump = SomeDump();
  KeepRequest(0, dump);
  EXPECT_THAT(dump.entries, SizeIs(0)) << "steps and waits are of no request";
}

TEST(FlightView, EachDecisionHasANameAndWords) {
  for (int i = 0; i < kNumFlightDecisions; ++i) {
    const auto decision = static_cast<FlightDecision>(i);
    EXPECT_FALSE(DecisionName(decision).empty()) << i;
    EXPECT_FALSE(DecisionText({.decision = decision}).empty()) << i;
  }
  EXPECT_EQ(DecisionName(FlightDecision::kSubmit), "submit");
  EXPECT_EQ(DecisionName(FlightDecision::kCancelAll), "cancel_all");
  EXPECT_EQ(DecisionName(FlightDecision::kStep), "step");
}

// A dump may come from anywhere: its numbers need not mean anything.
TEST(FlightView, NumbersWithoutAMeaningAreShown) {
  for (const int32_t number :
       {-1, 200, 256, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    const std::string name = "reason " + std::to_string(number);
    EXPECT_EQ(FinishText(number), name);
    EXPECT_EQ(WaitText(number), name);
    EXPECT_EQ(PreemptionText(number), name);
    FlightDump dump;
    for (int i = 0; i < kNumFlightDecisions; ++i) {
      dump.entries.push_back({.decision = static_cast<FlightDecision>(i), .numbers = {number, number, number, number}});
    }
    EXPECT_THAT(FlightTimeline(dump), SizeIs(kNumFlightDecisions));
    EXPECT_THAT(FlightSummary(dump), SizeIs(6));
  }
}

TEST(FlightView, JsonHasNumbersAsTheyAre) {
  EXPECT_EQ(FlightJson({.nanoseconds = 1'000'000'007,
                        .decision = FlightDecision::kPreempt,
                        .request = std::numeric_limits<uint64_t>::max(),
                        .index = 3,
                        .numbers = {1, -2, 3, 4}}),
            "{\"seconds\":1.000000007,\"decision\":\"preempt\",\"request\":18446744073709551615,\"index\":3,"
            "\"numbers\":[1,-2,3,4]}");
}

}  // namespace
}  // namespace latentd
