// What a Scheduler tells its flight recorder.
#include <array>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"

namespace latentd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Numbers = std::array<int32_t, 4>;
using enum FlightDecision;

constexpr TimePoint kStart{std::chrono::seconds(1000)};

class RecordingTest : public testing::Test {
 protected:
  // Four blocks beside the scratch block.
  RecordingTest()
      : scheduler_({.cache = {.num_blocks = 5},
                    .max_step_tokens = 1000,
                    .max_step_rows = 4,
                    .max_step_logits = 8,
                    .max_context_tokens = 1000}) {}
  ~RecordingTest() override { scheduler_.CancelAll(FinishReason::kCancelled); }

  void Add(RequestId id, int first_token, int num_prompt_tokens) {
    Request request{.id = id, .received = kStart};
    request.prompt.resize(static_cast<size_t>(num_prompt_tokens));
    std::iota(request.prompt.begin(), request.prompt.end(), first_token);
    request.stopping.max_tokens = 150;
    ASSERT_TRUE(scheduler_.Add(std::move(request)).ok());
  }
  void Step() {
    scheduler_.Plan(kStart, {.tokens = 1 << 30}, plan_);
    scheduler_.Commit(plan_);
    for (const PlannedRow& row : plan_.rows) {
      if (row.num_logits > 0) row.sequence->tokens.push_back(7);
    }
  }
  std::vector<FlightEntry> Entries() const {
    return scheduler_.recorder().Before(scheduler_.recorder().num_recorded(), 10'000);
  }
  std::vector<FlightDecision> DecisionsOf(RequestId id) const {
    std::vector<FlightDecision> decisions;
    for (const FlightEntry& entry : Entries()) {
      if (entry.request == id) decisions.push_back(entry.decision);
    }
    return decisions;
  }
  std::vector<Numbers> NumbersOf(FlightDecision decision) const {
    std::vector<Numbers> numbers;
    for (const FlightEntry& entry : Entries()) {
      if (entry.decision == decision) numbers.push_back(entry.numbers);
    }
    return numbers;
  }

  Scheduler scheduler_;
  BatchPlan plan_;
};

TEST_F(RecordingTest, LifeOfARequest) {
  Add(3, 0, 100);
  for (int i = 0; i < 30; ++i) Step();
  scheduler_.Pause(3);
  scheduler_.Resume(3);
  scheduler_.Cancel(3);
  EXPECT_THAT(DecisionsOf(3),
              ElementsAre(kSubmit, kAdmit, kChunk, kPublish, kPublish, kPause, kResume, kCancel, kFinish));
  EXPECT_THAT(NumbersOf(kSubmit), ElementsAre(Numbers{100, 150, 0, 1}));
  EXPECT_THAT(NumbersOf(kChunk), ElementsAre(Numbers{0, 100}));
  EXPECT_THAT(NumbersOf(kPublish), ElementsAre(Numbers{64}, Numbers{128}));
  const auto reason = static_cast<int32_t>(FinishReason::kCancelled);
  EXPECT_THAT(NumbersOf(kFinish), ElementsAre(Numbers{reason, 30, 129}));
}

TEST_F(RecordingTest, HitWithTheCopyOfItsTail) {
  Add(1, 0, 100);
  Step();
  scheduler_.Cancel(1);
  Add(2, 0, 100);
  Step();
  EXPECT_THAT(DecisionsOf(2), ElementsAre(kSubmit, kCopy, kHit, kAdmit, kChunk));
  EXPECT_THAT(NumbersOf(kHit), ElementsAre(Numbers{99, 1, 0, 0}));
  ASSERT_THAT(NumbersOf(kCopy), SizeIs(1));
  EXPECT_EQ(NumbersOf(kCopy)[0][2], 35);
  EXPECT_THAT(NumbersOf(kChunk), Contains(Numbers{99, 1}));
  EXPECT_THAT(NumbersOf(kEvict), IsEmpty());
}

TEST_F(RecordingTest, PreemptionAndWhatItEvicts) {
  Add(1, 1000, 100);
  Add(2, 2000, 100);
  for (int i = 0; i < 30; ++i) Step();
  EXPECT_THAT(DecisionsOf(1), Not(Contains(kPreempt)));
  const auto by_blocks = static_cast<int32_t>(PreemptionReason::kBlocks);
  EXPECT_THAT(NumbersOf(kPreempt), ElementsAre(Numbers{by_blocks, 127, 2}));
  EXPECT_THAT(NumbersOf(kEvict), SizeIs(1)) << "the other one took one of its blocks";
  const auto waits_for_blocks = static_cast<int32_t>(WaitReason::kBlocks);
  EXPECT_THAT(NumbersOf(kWait), Contains(Numbers{waits_for_blocks, 1}));
}

}  // namespace
}  // namespace latentd
