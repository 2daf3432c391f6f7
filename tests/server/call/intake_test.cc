#include "server/call/intake.h"

#include <chrono>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

using Standing = Intake::Standing;
using std::chrono::milliseconds;

constexpr size_t kMessage = 100;
const IntakeOptions kFourPlaces{.max_bytes = 400,
                                .message_bytes = kMessage,
                                .max_waiting = 4,
                                .patience = milliseconds(1000),
                                .grace = milliseconds(100)};

class IntakeTest : public testing::Test {
 protected:
  struct Caller {
    Intake::Place place;
    int wakes = 0;
  };

  Caller& Make(const std::string& peer) {
    Caller& caller = callers_.emplace_back();
    caller.place.peer = peer;
    caller.place.wake = [&caller] { ++caller.wakes; };
    return caller;
  }
  Caller& Arrive(const std::string& peer, Standing expected) {
    Caller& caller = Make(peer);
    EXPECT_EQ(intake_.Arrive(caller.place, now_), expected) << peer;
    return caller;
  }
  Standing Look(Caller& caller) { return intake_.Look(caller.place, now_); }
  void Leave(Caller& caller) { intake_.Leave(caller.place, now_); }

  IntakeOptions Watched() const {
    IntakeOptions options = kFourPlaces;
    options.max_bytes = 500;
    options.reserved_bytes = 100;
    options.unread_bytes = 10;
    options.look = [this](const Peer& peer) {
      const auto found = sending_.find(peer.connection);
      return found == sending_.end() ? std::nullopt : std::optional(found->second);
    };
    return options;
  }

  std::map<std::string, Sending> sending_;  // of those who are watched
  std::atomic<int64_t> held_ = 0;
  Intake intake_{kFourPlaces, &held_};
  TimePoint now_ = TimePoint{} + milliseconds(1);
  std::deque<Caller> callers_;
};

TEST_F(IntakeTest, PlaceCostsALargestMessageUntilItsSizeIsKnown) {
  Caller& a = Arrive("a", Standing::kReceiving);
  EXPECT_EQ(held_, 100);
  intake_.Received(a.place, 7, now_);
  EXPECT_EQ(Look(a), Standing::kReceived);
  EXPECT_EQ(held_, 7);
  Leave(a);
  EXPECT_EQ(held_, 0);
  Leave(a);
  EXPECT_EQ(held_, 0);
}

TEST_F(IntakeTest, WhoFindsNoPlaceWaitsUntilThereIsOne) {
  std::vector<Caller*> senders;
  for (const char* peer : {"a", "b", "c", "d"}) senders.push_back(&Arrive(peer, Standing::kReceiving));
  Caller& late = Arrive("e", Standing::kWaiting);
  EXPECT_EQ(Look(late), Standing::kWaiting);
  EXPECT_EQ(late.wakes, 0);
  intake_.Received(senders[2]->place, 1, now_);
  EXPECT_EQ(Look(late), Standing::kWaiting) << "three places and a byte leave less than one";
  Leave(*senders[2]);
  EXPECT_EQ(late.wakes, 1);
  EXPECT_EQ(Look(late), Standing::kReceiving);
}

TEST_F(IntakeTest, PeerMayHaveHalfOfThePlaces) {
  Caller& first = Arrive("a", Standing::kReceiving);
  Arrive("a", Standing::kReceiving);
  Caller& third = Arrive("a", Standing::kWaiting);
  Arrive("b", Standing::kReceiving);
  Leave(first);
  EXPECT_EQ(Look(third), Standing::kReceiving);
}

TEST_F(IntakeTest, WaitingPeersTakeTurns) {
  std::vector<Caller*> senders;
  for (const char* peer : {"a", "a", "b", "b"}) senders.push_back(&Arrive(peer, Standing::kReceiving));
  Caller& busy1 = Arrive("busy", Standing::kWaiting);
  Caller& busy2 = Arrive("busy", Standing::kWaiting);
  Caller& neighbour = Arrive("neighbour", Standing::kWaiting);
  Leave(*senders[0]);
  Leave(*senders[1]);
  EXPECT_EQ(Look(busy1), Standing::kReceiving);
  EXPECT_EQ(Look(neighbour), Standing::kReceiving);
  EXPECT_EQ(Look(busy2), Standing::kWaiting);
}

TEST_F(IntakeTest, HalfSentMessageGoesAtOnceWhereOthersWaitForItsPlace) {
  Caller& first = Arrive("a", Standing::kReceiving);
  now_ += milliseconds(50);
  for (const char* peer : {"b", "c", "d"}) Arrive(peer, Standing::kReceiving);
  Caller& neighbour = Arrive("neighbour", Standing::kWaiting);
  EXPECT_EQ(first.wakes, 0) << "it has its grace";
  EXPECT_EQ(intake_.next_look(neighbour.place, now_), now_ + milliseconds(5)) << "the rest of it may come at once";
  EXPECT_EQ(intake_.next_look(neighbour.place, now_ + milliseconds(500)), now_ + milliseconds(600));
  now_ += milliseconds(50);
  EXPECT_EQ(Look(neighbour), Standing::kWaiting);
  EXPECT_EQ(first.wakes, 1);
  EXPECT_EQ(Look(first), Standing::kOverdue);
  now_ += milliseconds(50);
  Look(neighbour);
  for (Caller& caller : callers_) {
    EXPECT_EQ(caller.wakes, &caller == &first ? 1 : 0) << "one place is enough for one";
  }
  Leave(first);
  EXPECT_EQ(Look(neighbour), Standing::kReceiving);
}

TEST_F(IntakeTest, PeerWithMostPlacesLosesOneFirst) {
  Caller& single = Arrive("single", Standing::kReceiving);
  Caller& other = Arrive("other", Standing::kReceiving);
  now_ += milliseconds(1);
  Caller& many1 = Arrive("many", Standing::kReceiving);
  Arrive("many", Standing::kReceiving);
  now_ += milliseconds(200);
  Arrive("neighbour", Standing::kWaiting);
  EXPECT_EQ(Look(many1), Standing::kOverdue);
  EXPECT_EQ(Look(single), Standing::kReceiving);
  EXPECT_EQ(Look(other), Standing::kReceiving);
}

TEST_F(IntakeTest, HalfSentMessageHasItsPatienceWhereNobodyWaits) {
  Caller& alone = Arrive("a", Standing::kReceiving);
  now_ += milliseconds(999);
  EXPECT_EQ(Look(alone), Standing::kReceiving);
  EXPECT_EQ(intake_.next_look(alone.place, now_), now_ + milliseconds(1));
  now_ += milliseconds(1);
  EXPECT_EQ(Look(alone), Standing::kOverdue);
  EXPECT_EQ(held_, 100) << "gRPC still has its bytes";
  Leave(alone);
  EXPECT_EQ(held_, 0);
}

TEST_F(IntakeTest, NobodyWaitsForLongerThanThePatience) {
  for (const char* peer : {"a", "b", "c", "d"}) Arrive(peer, Standing::kReceiving);
  Caller& late = Arrive("e", Standing::kWaiting);
  now_ += milliseconds(1000);
  EXPECT_EQ(Look(late), Standing::kNoRoom);
  EXPECT_EQ(intake_.num_waiting(), 0u);
}

TEST_F(IntakeTest, AddressesTakeTurnsBeforeTheirConnectionsDo) {
  std::vector<Caller*> senders;
  for (const char* peer : {"a", "b", "c", "d"}) senders.push_back(&Arrive(peer, Standing::kReceiving));
  std::vector<Caller*> crowd;
  for (const char* peer : {"ipv4:10.0.0.1:1", "ipv4:10.0.0.1:2", "ipv4:10.0.0.1:3"}) {
    crowd.push_back(&Arrive(peer, Standing::kWaiting));
  }
  Caller& neighbour = Arrive("ipv4:10.0.0.2:1", Standing::kWaiting);
  Leave(*senders[0]);
  Leave(*senders[1]);
  EXPECT_EQ(Look(*crowd[0]), Standing::kReceiving);
  EXPECT_EQ(Look(neighbour), Standing::kReceiving);
  Leave(neighbour);
  EXPECT_EQ(Look(*crowd[1]), Standing::kReceiving);
}

TEST_F(IntakeTest, WholeMessageWaitsForNobodyThatIsNot) {
  Intake intake(Watched(), &held_);
  std::vector<Caller*> silent;
  for (const char* peer : {"a", "b", "c", "d", "e", "f"}) {
    sending_[peer] = Sending::kNothing;
    silent.push_back(&Make(peer));
    EXPECT_EQ(intake.Arrive(silent.back()->place, now_),
              silent.size() <= 4 ? Standing::kReceiving : Standing::kWaiting);
  }
  sending_["whole"] = Sending::kWhole;
  Caller& whole = Make("whole");
  EXPECT_EQ(intake.Arrive(whole.place, now_), Standing::kReceiving);
  EXPECT_EQ(held_, 410) << "of the part that is reserved";
  sending_["e"] = Sending::kWhole;
  now_ += milliseconds(5);
  EXPECT_EQ(intake.Look(silent[4]->place, now_), Standing::kReceiving) << "out of turn";
  EXPECT_EQ(intake.Look(silent[5]->place, now_), Standing::kWaiting);
  for (Caller& caller : callers_) intake.Leave(caller.place, now_);
  EXPECT_EQ(held_, 0);
}

TEST_F(IntakeTest, PlaceOfOneThatSendsNothingGoesFirstAndNobodysThatIsHere) {
  Intake intake(Watched(), &held_);
  const std::vector<std::pair<const char*, Sending>> senders = {{"part", Sending::kPart},
                                                                {"unread", Sending::kUnread},
                                                                {"whole", Sending::kWhole},
                                                                {"silent", Sending::kNothing}};
  for (const auto& [peer, sending] : senders) {
    sending_[peer] = sending == Sending::kWhole ? Sending::kPart : sending;
    EXPECT_EQ(intake.Arrive(Make(peer).place, now_), Standing::kReceiving);
    sending_[peer] = sending;
  }
  sending_["waits"] = Sending::kPart;
  sending_["waits silently"] = Sending::kNothing;
  Caller &waits = Make("waits"), &silent = Make("waits silently");
  now_ += milliseconds(20);
  EXPECT_EQ(intake.Arrive(silent.place, now_), Standing::kWaiting);
  EXPECT_EQ(callers_[3].wakes, 0) << "nobody goes for one that sends nothing itself";
  EXPECT_EQ(intake.Arrive(waits.place, now_), Standing::kWaiting);
  EXPECT_EQ(intake.Look(callers_[3].place, now_), Standing::kOverdue);
  intake.Leave(callers_[3].place, now_);
  EXPECT_EQ(intake.Look(waits.place, now_), Standing::kReceiving) << "before the silent one, which came before it";
  sending_["waits silently"] = Sending::kPart;
  now_ += milliseconds(200);
  intake.Look(silent.place, now_);
  EXPECT_EQ(callers_[0].wakes, 1) << "it had its grace";
  intake.Leave(callers_[0].place, now_);
  sending_["late"] = Sending::kPart;
  Caller& late = Make("late");
  EXPECT_EQ(intake.Arrive(late.place, now_), Standing::kWaiting);
  EXPECT_EQ(callers_[1].wakes + callers_[2].wakes, 0) << "what is here is not late";
  for (Caller& caller : callers_) intake.Leave(caller.place, now_);
}

TEST_F(IntakeTest, CrowdOfOnePeerMakesRoomForAnother) {
  for (const char* peer : {"a", "b", "c", "d"}) Arrive(peer, Standing::kReceiving);
  std::vector<Caller*> crowd;
  for (int i = 0; i < 4; ++i) crowd.push_back(&Arrive("crowd", Standing::kWaiting));
  Arrive("crowd", Standing::kNoRoom);
  Arrive("neighbour", Standing::kWaiting);
  EXPECT_EQ(crowd[3]->wakes, 1);
  EXPECT_EQ(Look(*crowd[3]), Standing::kNoRoom);
  EXPECT_EQ(Look(*crowd[0]), Standing::kWaiting);
}

TEST_F(IntakeTest, ClosingEndsWhoeverIsNotThereYet) {
  Caller& whole = Arrive("a", Standing::kReceiving);
  intake_.Received(whole.place, 5, now_);
  std::vector<Caller*> open;
  for (const char* peer : {"b", "c", "d"}) open.push_back(&Arrive(peer, Standing::kReceiving));
  open.push_back(&Arrive("e", Standing::kWaiting));
  intake_.Close();
  for (Caller* caller : open) {
    EXPECT_EQ(caller->wakes, 1);
    EXPECT_EQ(Look(*caller), Standing::kClosed);
    Leave(*caller);
  }
  EXPECT_EQ(Look(whole), Standing::kReceived);
  Arrive("f", Standing::kReceiving);
}

// Whatever clients do: the bound holds, no request waits beside a free place, and all bytes are given back.
TEST_F(IntakeTest, BoundHoldsInRandomTraffic) {
  std::mt19937 random(20261130);
  std::vector<Caller*> inside;
  for (int step = 0; step < 20000; ++step) {
    now_ += milliseconds(random() % 30);
    if (random() % 3 == 0) {
      Caller& caller = Make(std::string(1, static_cast<char>('a' + random() % 6)));
      intake_.Arrive(caller.place, now_);
      inside.push_back(&caller);
    } else if (!inside.empty()) {
      const size_t at = random() % inside.size();
      const Standing standing = Look(*inside[at]);
      if (standing == Standing::kReceiving && random() % 2 == 0) {
        intake_.Received(inside[at]->place, random() % (kMessage + 1), now_);
      } else if (standing != Standing::kWaiting || random() % 4 == 0) {
        Leave(*inside[at]);
        inside.erase(inside.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
    ASSERT_LE(held_, 400);
    ASSERT_LE(intake_.num_waiting(), 4u);
  }
  for (Caller* caller : inside) Leave(*caller);
  EXPECT_EQ(held_, 0);
  EXPECT_EQ(intake_.num_waiting(), 0u);
}

}  // namespace
}  // namespace latentd
