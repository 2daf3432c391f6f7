// Each transition of an answer's way out, on a wire that only notes what it is asked, in virtual time.
#include "server/call/answer_pump.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Next = Wire::Next;

constexpr seconds kPatience{30};

class NotingWire final : public Wire {
 public:
  void Write(std::string message, Next next) override { writes.emplace_back(std::move(message), next); }
  void Finish(const absl::Status& status) override { statuses.push_back(status.code()); }
  void Reset() override { ++num_resets; }

  std::vector<std::pair<std::string, Next>> writes;
  std::vector<absl::StatusCode> statuses;
  int num_resets = 0;
};

// Gives what the test puts in front of it, and ends as Call does.
class ScriptedSource final : public AnswerSource {
 public:
  Supply Fill(WireState wire, TimePoint, Messages& messages) override {
    asked.push_back(wire);
    if (wire == WireState::kFree || supply.is_complete) {
      for (std::string& message : ready) messages.push_back(std::move(message));
      ready.clear();
    }
    return supply;
  }
  void WireBroke() override { ++num_breaks; }
  void Ended(AnswerFate fate, size_t unread_bytes) override {
    ends.emplace_back(fate, unread_bytes);
    if (ends.size() == 1 && on_end) on_end(fate);
  }

  std::vector<std::string> ready;
  Supply supply;
  std::vector<WireState> asked;
  std::vector<std::pair<AnswerFate, size_t>> ends;
  std::function<void(AnswerFate)> on_end;
  int num_breaks = 0;
};

class AnswerPumpTest : public testing::Test {
 protected:
  AnswerPumpTest() {
    source_.on_end = [this](AnswerFate fate) {
      pump_.Finish(fate == AnswerFate::kTakenWhole ? absl::OkStatus() : absl::CancelledError(), now_);
    };
  }

  void Pump() {
    wants_turn_ = false;
    turn_by_ = kNever;
    pump_.Pump(now_);
  }
  void Complete(std::vector<std::string> last = {}) {
    source_.ready = std::move(last);
    source_.supply.is_complete = true;
  }
  void Pass(Duration duration) { now_ += duration; }

  TimePoint now_{seconds(1000)};
  bool wants_turn_ = false;
  TimePoint turn_by_ = kNever;
  NotingWire wire_;
  ScriptedSource source_;
  AnswerPump pump_{source_,
                   wire_,
                   kPatience,
                   {.soon = [this] { wants_turn_ = true; }, .by = [this](TimePoint when) { turn_by_ = when; }}};
};

// ---------------------------------------------------------------------------------------------------------- one by one

TEST_F(AnswerPumpTest, OneWriteIsInFlightAtATime) {
  source_.ready = {"a"};
  Pump();
  source_.ready = {"b"};
  Pump();
  EXPECT_THAT(wire_.writes, ElementsAre(std::pair("a", Next::kOpen)));
  EXPECT_EQ(source_.asked.back(), AnswerSource::WireState::kBusy) << "it may merge what is ready";
  EXPECT_FALSE(wants_turn_);
  pump_.Written();
  EXPECT_TRUE(wants_turn_) << "the turn found the write busy";
  Pump();
  EXPECT_THAT(wire_.writes, ElementsAre(std::pair("a", Next::kOpen), std::pair("b", Next::kOpen)));
}

TEST_F(AnswerPumpTest, NoTurnFollowsAWriteBehindWhichThereIsNothing) {
  source_.ready = {"a"};
  Pump();
  pump_.Written();
  EXPECT_FALSE(wants_turn_);
}

TEST_F(AnswerPumpTest, TurnFollowsWhereTheSourceMayHaveMore) {
  source_.ready = {"a"};
  source_.supply.may_have_more = true;
  Pump();
  pump_.Written();
  EXPECT_TRUE(wants_turn_);
}

TEST_F(AnswerPumpTest, EachMessageSaysWhatFollowsIt) {
  Complete({"a", "b", "c"});
  for (int i = 0; i < 3; ++i) {
    Pump();
    pump_.Written();
    EXPECT_TRUE(wants_turn_);
  }
  EXPECT_THAT(wire_.writes,
              ElementsAre(std::pair("a", Next::kMessage), std::pair("b", Next::kMessage), std::pair("c", Next::kEnd)));
  EXPECT_THAT(source_.ends, IsEmpty()) << "the last write was over only now";
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kTakenWhole, 0u)));
  EXPECT_THAT(wire_.statuses, ElementsAre(absl::StatusCode::kOk));
}

TEST_F(AnswerPumpTest, CompleteSourceWithoutMessagesEndsAtOnce) {
  Complete();
  Pump();
  EXPECT_THAT(wire_.writes, IsEmpty());
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kTakenWhole, 0u)));
}

TEST_F(AnswerPumpTest, CompletionBehindABusyWriteWaitsForIt) {
  source_.ready = {"a"};
  Pump();
  Complete();
  Pump();
  EXPECT_THAT(source_.ends, IsEmpty());
  pump_.Written();
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kTakenWhole, 0u)));
}

TEST_F(AnswerPumpTest, SourceIsAskedAgainWhenItSays) {
  source_.supply.next = now_ + seconds(1);
  Pump();
  EXPECT_EQ(turn_by_, now_ + seconds(1));
}

// -------------------------------------------------------------------------------------------------------- slow readers

TEST_F(AnswerPumpTest, WriteBeforeTheEndMayTakeAsLongAsItLikes) {
  source_.ready = {"a"};
  Pump();
  Pass(100 * kPatience);
  Pump();
  EXPECT_THAT(source_.ends, IsEmpty());
}

TEST_F(AnswerPumpTest, WriteOfACompleteAnswerIsGivenUpAfterPatience) {
  Complete({"four", "five5"});
  Pump();
  EXPECT_EQ(turn_by_, now_ + kPatience);
  Pass(kPatience - seconds(1));
  Pump();
  EXPECT_THAT(source_.ends, IsEmpty());
  EXPECT_EQ(turn_by_, now_ + seconds(1));
  Pass(seconds(1));
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kStuck, 9u)));
}

TEST_F(AnswerPumpTest, PatienceBeginsAnewWithEachWrite) {
  Complete({"a", "b"});
  Pump();
  Pass(kPatience - seconds(1));
  pump_.Written();
  Pump();
  Pass(kPatience - seconds(1));
  Pump();
  EXPECT_THAT(source_.ends, IsEmpty());
}

TEST_F(AnswerPumpTest, PatienceWithAWriteFromBeforeTheEndBeginsWithTheEnd) {
  source_.ready = {"a"};
  Pump();
  Pass(kPatience);
  Complete();
  Pump();
  EXPECT_THAT(source_.ends, IsEmpty());
  EXPECT_EQ(turn_by_, now_ + kPatience);
  Pass(kPatience);
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kStuck, 1u)));
}

TEST_F(AnswerPumpTest, SourceMayLimitEachWrite) {
  source_.ready = {"abc"};
  source_.supply.limits_writes = true;
  source_.supply.next = now_ + seconds(1);
  Pump();
  EXPECT_EQ(turn_by_, now_ + kPatience) << "whenever the source wants to be asked";
  Pass(kPatience);
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kStuck, 3u)));
}

TEST_F(AnswerPumpTest, EndAtOnceDoesNotWaitForTheWrite) {
  source_.ready = {"abc"};
  Pump();
  Complete({"never written"});
  source_.supply.ends_at_once = true;
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kTakenWhole, 3u + 13u)));
  EXPECT_EQ(wire_.writes.size(), 1u);
}

// -------------------------------------------------------------------------------------------------------- broken wires

TEST_F(AnswerPumpTest, FailedWriteEndsTheAnswerOnceTheSourceIsComplete) {
  source_.ready = {"a"};
  Pump();
  pump_.WriteFailed();
  EXPECT_EQ(source_.num_breaks, 1);
  EXPECT_TRUE(wants_turn_);
  source_.ready = {"never written"};
  Pump();
  EXPECT_EQ(wire_.writes.size(), 1u);
  EXPECT_THAT(source_.ends, IsEmpty()) << "the engine still has the request";
  Complete();
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 0u)));
}

TEST_F(AnswerPumpTest, ClientThatLeavesBetweenWritesGetsNoOther) {
  source_.ready = {"a"};
  Pump();
  pump_.Written();
  pump_.Break();
  EXPECT_TRUE(wants_turn_);
  Complete({"b"});
  Pump();
  EXPECT_EQ(wire_.writes.size(), 1u);
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 0u)));
}

TEST_F(AnswerPumpTest, ClientThatLeavesDuringAWriteIsNotWaitedFor) {
  Complete({"abc"});
  Pump();
  pump_.Break();
  Pump();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 3u)));
}

// ---------------------------------------------------------------------------------------------------- the only message

TEST_F(AnswerPumpTest, OnlyMessageEndsWithItsWriteAndNoTurn) {
  pump_.WriteWhole("abc", now_);
  EXPECT_THAT(wire_.writes, ElementsAre(std::pair("abc", Next::kEnd)));
  EXPECT_TRUE(pump_.is_writing_whole());
  EXPECT_EQ(turn_by_, now_ + kPatience);
  pump_.Written();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kTakenWhole, 0u)));
  EXPECT_FALSE(wants_turn_);
}

TEST_F(AnswerPumpTest, OnlyMessageThatIsNotReadIsGivenUpAfterPatience) {
  pump_.WriteWhole("abc", now_);
  turn_by_ = kNever;
  Pass(kPatience - seconds(1));
  pump_.GiveUpWhole(now_);
  EXPECT_THAT(source_.ends, IsEmpty());
  EXPECT_EQ(turn_by_, now_ + seconds(1));
  Pass(seconds(1));
  pump_.GiveUpWhole(now_);
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kStuck, 3u)));
}

TEST_F(AnswerPumpTest, OnlyMessageOfAClientThatLeftIsOver) {
  pump_.WriteWhole("abc", now_);
  pump_.Break();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 3u)));
}

TEST_F(AnswerPumpTest, PumpMayGoWithACallThatEndsBecauseItsClientLeft) {
  auto pump = std::make_unique<AnswerPump>(
      source_, wire_, kPatience, PumpTurns{.soon = [] { FAIL() << "the pump is gone"; }, .by = [](TimePoint) {}});
  source_.on_end = [&](AnswerFate) {
    EXPECT_EQ(source_.num_breaks, 1);
    pump.reset();
  };
  pump->WriteWhole("abc", now_);
  pump->Break();
  EXPECT_EQ(pump, nullptr);
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 3u)));
}

TEST_F(AnswerPumpTest, FailedWriteOfTheOnlyMessageEndsIt) {
  pump_.WriteWhole("abc", now_);
  pump_.WriteFailed();
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kLeft, 3u)));
}

TEST_F(AnswerPumpTest, DisplacedMessageIsGivenUpAndResetAtOnce) {
  pump_.WriteWhole("abc", now_);
  pump_.Displace();
  EXPECT_TRUE(wants_turn_);
  pump_.GiveUpWhole(now_);
  EXPECT_THAT(source_.ends, ElementsAre(std::pair(AnswerFate::kDisplaced, 3u)));
  EXPECT_EQ(turn_by_, now_);
  pump_.ResetIfDue(now_);
  EXPECT_EQ(wire_.num_resets, 1);
}

TEST_F(AnswerPumpTest, MessageThatIsDisplacedBeforeItsWriteHasATurn) {
  pump_.Displace();
  wants_turn_ = false;
  pump_.WriteWhole("abc", now_);
  EXPECT_TRUE(wants_turn_);
}

// ------------------------------------------------------------------------------------------------------------- the end

TEST_F(AnswerPumpTest, ClientThatLeavesItsStatusUnreadIsResetAfterPatience) {
  pump_.Finish(absl::OkStatus(), now_);
  EXPECT_EQ(turn_by_, now_ + kPatience);
  turn_by_ = kNever;
  Pass(kPatience - seconds(1));
  pump_.ResetIfDue(now_);
  EXPECT_EQ(wire_.num_resets, 0);
  EXPECT_EQ(turn_by_, now_ + seconds(1)) << "the turn was one of an earlier stage";
  Pass(seconds(1));
  pump_.ResetIfDue(now_);
  pump_.ResetIfDue(now_);
  EXPECT_EQ(wire_.num_resets, 1);
}

TEST_F(AnswerPumpTest, WireThatIsOverIsNotReset) {
  pump_.Finish(absl::OkStatus(), now_);
  pump_.Close();
  Pass(kPatience);
  pump_.ResetIfDue(now_);
  EXPECT_EQ(wire_.num_resets, 0);
}

TEST_F(AnswerPumpTest, NothingIsResetBeforeItsEnd) {
  Pass(100 * kPatience);
  pump_.ResetIfDue(now_);
  EXPECT_EQ(wire_.num_resets, 0);
}

}  // namespace
}  // namespace latentd
