// Each way through a call's life, on a transport that only notes. The pool and the egress are real: what their threads
// do is awaited, or made to wait for the test.
#include "server/call/call.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/now.h"
#include "server/api/status.h"
#include "tests/server/call/fake_call_wire.h"

namespace latentd {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Notes = FakeCallWire::Notes;

constexpr size_t kAnswerBudget = 100;
constexpr char kPeer[] = "ipv4:1.1.1.1:1";
constexpr size_t kLargeJob = WorkPool::kLargeJobBytes + 1;  // for one of the pool's two threads only

// Handles its request as the test says. Where that neither answers nor refuses, it is a stream that goes on until it
// can't be written to any more.
class ScriptedCall final : public Call {
 public:
  using Script = std::function<void(ScriptedCall& call)>;

  ScriptedCall(CallStart start, const CallParts& parts, Script handle, Script pump)
      : Call(std::move(start), parts), handle_(std::move(handle)), pump_script_(std::move(pump)) {}

  using Call::Answer;
  using Call::Refuse;

 private:
  void Handle(MessageBytes) override { handle_(*this); }
  void Pump() override { pump_script_ ? pump_script_(*this) : Call::Pump(); }
  Supply Fill(WireState, TimePoint, Messages&) override { return {.is_complete = is_broken_}; }
  void WireBroke() override { is_broken_ = true; }

  const Script handle_, pump_script_;
  std::atomic<bool> is_broken_ = false;
};

class CallTest : public testing::Test {
 protected:
  explicit CallTest(Duration patience = seconds(30)) : egress_(1, patience) {}
  ~CallTest() override {
    EndTransport();
    egress_.AwaitEmpty(kNever);
    const MetricsData data = metrics_.Snapshot();
    uint64_t num_finished = 0;
    for (const auto& [outcome, count] : data.requests_finished) num_finished += count;
    EXPECT_EQ(num_finished, 1u);
    for (const int64_t in_flight : data.requests_in_flight.counts()) EXPECT_EQ(in_flight, 0);
  }

  CallParts Parts() {
    return {.intake = intake_, .pool = pool_, .answers = answers_, .egress = egress_, .metrics = metrics_};
  }
  CallStart StartAt(TimePoint deadline) {
    return {.wire = wire_, .method = "GetModel", .origin = {.peer = kPeer, .traceparent = ""}, .deadline = deadline};
  }
  Call& Arrive(ScriptedCall::Script handle, TimePoint deadline = kNever, ScriptedCall::Script pump = nullptr) {
    auto call = std::make_unique<ScriptedCall>(StartAt(deadline), Parts(), std::move(handle), std::move(pump));
    call_ = call.get();
    wire_.Own(std::move(call));
    call_->Receive();
    return *call_;
  }
  static void MustNotRun(ScriptedCall&) { ADD_FAILURE() << "the request was handled"; }

  // The transport is done with the call, which goes then.
  void EndTransport() {
    if (call_ != nullptr) std::exchange(call_, nullptr)->Done();
  }
  // Returns once the egress has taken each turn that was asked for until now.
  void AwaitTurns() {
    std::promise<void> pumped, released;
    Egress::Slot slot;
    slot.pump = [&pumped] { pumped.set_value(); };
    slot.release = [&released] { released.set_value(); };
    egress_.Attach(slot);
    egress_.Wake(slot);
    pumped.get_future().wait();
    egress_.Done(slot);
    released.get_future().wait();
  }

  std::promise<void> begun_, go_on_;  // of what the pool does; outlive it
  Metrics metrics_;
  Intake intake_{IntakeOptions{}};
  ByteBudget answers_{kAnswerBudget};
  WorkPool pool_{WorkPoolOptions{}};
  Egress egress_;
  FakeCallWire wire_;
  Call* call_ = nullptr;
};

TEST_F(CallTest, IsReadHandledAnsweredAndReleased) {
  Call& call = Arrive([](ScriptedCall& scripted) { scripted.Answer("answer"); });
  EXPECT_EQ(wire_.notes().num_reads, 1);
  call.Received(7);
  EXPECT_THAT(wire_.AwaitWrite().writes, ElementsAre(std::pair("answer", Wire::Next::kEnd)));
  EXPECT_THAT(wire_.notes().ends, IsEmpty()) << "its client has not taken it";
  call.Written();
  EXPECT_THAT(wire_.notes().ends, ElementsAre(""));
  EXPECT_FALSE(wire_.notes().is_released);
  EndTransport();
  wire_.AwaitRelease();
}

TEST_F(CallTest, UnreadCallIsRefusedWithoutItsMessage) {
  auto call = std::make_unique<UnreadCall>(StartAt(kNever), Parts());
  UnreadCall& unread = *call;
  call_ = &unread;
  wire_.Own(std::move(call));
  unread.Refuse(Draining());
  EXPECT_THAT(wire_.notes().ends, ElementsAre("DRAINING"));
  EXPECT_EQ(wire_.notes().num_reads, 0);
}

TEST_F(CallTest, MessageThatCannotBeUnpackedIsNotHandled) {
  wire_.unpacking = MessageTooLarge(9, 8);
  Arrive(MustNotRun).Received(9);
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre(ReasonOf(MessageTooLarge(9, 8))));
}

TEST_F(CallTest, AnswerThatIsLargerThanItsClientTakesIsRefused) {
  wire_.accepted_bytes = 5;
  Arrive([](ScriptedCall& call) { call.Answer("answer"); }).Received(7);
  const Notes notes = wire_.AwaitEnd();
  EXPECT_THAT(notes.ends, ElementsAre(ReasonOf(AnswerTooLarge("the answer", 6, 5))));
  EXPECT_THAT(notes.writes, IsEmpty());
}

// ---------------------------------------------------------------------------------------------------- no whole message

TEST_F(CallTest, ServerThatShutsDownRefusesWhatIsNotReceived) {
  Call& call = Arrive(MustNotRun);
  intake_.Close();
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre("DRAINING"));
  call.Received(7);  // told late
  AwaitTurns();
  EXPECT_EQ(wire_.notes().ends.size(), 1u);
}

TEST_F(CallTest, EndOfTheStreamInPlaceOfAMessageIsInvalid) {
  Arrive(MustNotRun).ReceivedNothing();
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre("INVALID_FIELD"));
}

TEST_F(CallTest, MessageOfAClientThatIsKnownToBeGoneIsNotMissed) {
  wire_.is_cancelled = true;
  Call& call = Arrive(MustNotRun);
  call.ReceivedNothing();
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre("CLIENT_CANCEL"));
  call.Left();  // told late
  EXPECT_EQ(wire_.notes().ends.size(), 1u);
}

// -------------------------------------------------------------------------------------------------- clients that leave

TEST_F(CallTest, ClientThatLeavesWhileItSendsEndsTheCallAtOnce) {
  Call& call = Arrive(MustNotRun);
  call.Left();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("CLIENT_CANCEL"));
  call.ReceivedNothing();
  AwaitTurns();
  EXPECT_EQ(wire_.notes().ends.size(), 1u);
}

TEST_F(CallTest, ClientThatLeavesAtItsDeadlineExpired) {
  Arrive(MustNotRun, Now()).Left();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("EXPIRED_IN_QUEUE"));
}

TEST_F(CallTest, ServerThatCutsACallShortDidNotLoseItsClient) {
  Call& call = Arrive(MustNotRun);
  egress_.CutShort();
  call.Left();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("DRAINING"));
}

TEST_F(CallTest, ClientThatLeavesBeforeItsTurnIsNeverHandled) {
  pool_.Submit({.peer = "other", .num_bytes = kLargeJob, .run = [this] {
                  begun_.set_value();
                  go_on_.get_future().wait();
                }});
  begun_.get_future().wait();
  Call& call = Arrive(MustNotRun);
  call.Received(kLargeJob);
  EXPECT_EQ(pool_.num_waiting(), 1u);
  call.Left();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("CLIENT_CANCEL"));
  EXPECT_EQ(pool_.num_waiting(), 0u);
  go_on_.set_value();
}

TEST_F(CallTest, RefusalOfAClientThatLeftMeanwhileIsItsCancellation) {
  Call& call = Arrive([this](ScriptedCall& scripted) {
    begun_.set_value();
    go_on_.get_future().wait();
    scripted.Refuse(IntakeFull());
  });
  call.Received(7);
  begun_.get_future().wait();
  call.Left();
  EXPECT_THAT(wire_.notes().ends, IsEmpty()) << "the pool's thread ends the call";
  go_on_.set_value();
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre("CLIENT_CANCEL"));
}

TEST_F(CallTest, StreamOfAClientThatLeftWhileItWasOpenedEnds) {
  Call& call = Arrive([this](ScriptedCall&) {
    begun_.set_value();
    go_on_.get_future().wait();
  });
  call.Received(7);
  begun_.get_future().wait();
  call.Left();
  go_on_.set_value();
  EXPECT_THAT(wire_.AwaitEnd().ends, ElementsAre("CLIENT_CANCEL"));
}

TEST_F(CallTest, AnswerThatCannotBeWrittenIsItsClientsCancellation) {
  Call& call = Arrive([](ScriptedCall& scripted) { scripted.Answer("answer"); });
  call.Received(7);
  wire_.AwaitWrite();
  call.WriteFailed();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("CLIENT_CANCEL"));
}

// --------------------------------------------------------------------------------------------------------- the way out

TEST_F(CallTest, AnswerThatIsDisplacedBeforeItsCallAnswersStillGoes) {
  ByteBudget::Share held, newcomers;
  ASSERT_TRUE(answers_.TryTake("ipv4:2.2.2.2:1", 30, &held, Now()));
  Arrive([&](ScriptedCall& call) {
    call.Answer(std::string(40, 'a'));
    EXPECT_TRUE(answers_.TryTake("ipv4:3.3.3.3:1", 35, &newcomers, Now() + seconds(10)));
    AwaitTurns();  // the displacement's own is lost: the call does not answer yet
  }).Received(7);
  const Notes notes = wire_.Await([](const Notes& now) { return now.num_resets > 0; });
  EXPECT_THAT(notes.ends, ElementsAre("ANSWERS_FULL"));
}

TEST_F(CallTest, TransportThatIsDoneWaitsForThePoolsThread) {
  Call& call = Arrive([this](ScriptedCall& scripted) {
    scripted.Refuse(IntakeFull());
    begun_.set_value();
    go_on_.get_future().wait();
    EXPECT_FALSE(wire_.notes().is_released);
  });
  call.Received(7);
  begun_.get_future().wait();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("INTAKE_FULL"));
  EndTransport();
  AwaitTurns();
  EXPECT_FALSE(wire_.notes().is_released);
  go_on_.set_value();
  wire_.AwaitRelease();
}

class ImpatientCallTest : public CallTest {
 protected:
  ImpatientCallTest() : CallTest(Duration::zero()) {}
};

TEST_F(ImpatientCallTest, AnswerThatIsNotTakenIsGivenUpAndThenReset) {
  const auto open = [](ScriptedCall&) {};
  Arrive(open, kNever, [](ScriptedCall& call) { call.Answer("answer"); }).Received(7);
  const Notes notes = wire_.Await([](const Notes& now) { return now.num_resets > 0; });
  EXPECT_THAT(notes.ends, ElementsAre("SLOW_CONSUMER"));
  EXPECT_EQ(notes.writes.size(), 1u);
}

}  // namespace
}  // namespace latentd
