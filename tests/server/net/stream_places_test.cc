#include "server/net/stream_places.h"

#include <deque>
#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

class Stream final : public StreamPlaces::Holder {
 public:
  using Holder::Holder;
  void MakeRoom() override { has_lost = true; }

  bool has_lost = false;
};

class StreamPlacesTest : public ::testing::Test {
 protected:
  // Null where it got no place.
  Stream* Open(const std::string& peer) {
    Stream& stream = streams_.emplace_back(peer);
    return places_.Take(stream) ? &stream : nullptr;
  }
  Stream* OpenMany(const std::string& peer, int count) {
    Stream* last = nullptr;
    for (int i = 0; i < count; ++i) last = Open(peer);
    return last;
  }

  StreamPlaces places_{4};
  std::deque<Stream> streams_;
};

TEST_F(StreamPlacesTest, OneThatIsGivenBackIsFree) {
  Stream* first = OpenMany("ipv4:1.1.1.1:1", 4);
  EXPECT_EQ(Open("ipv4:1.1.1.1:1"), nullptr);
  places_.GiveBack(*first);
  places_.GiveBack(*first);
  EXPECT_NE(Open("ipv4:1.1.1.1:1"), nullptr);
  EXPECT_EQ(Open("ipv4:1.1.1.1:1"), nullptr);
}

TEST_F(StreamPlacesTest, AnotherAddressGetsTheOldestOfTheOneThatHasMost) {
  Stream* one = Open("ipv4:2.2.2.2:1");
  OpenMany("ipv4:1.1.1.1:1", 2);
  OpenMany("ipv4:1.1.1.1:2", 1);
  EXPECT_NE(Open("ipv4:3.3.3.3:1"), nullptr);
  EXPECT_TRUE(streams_[1].has_lost) << "the oldest of the connection that has most";
  EXPECT_FALSE(one->has_lost);
  EXPECT_NE(Open("ipv4:4.4.4.4:1"), nullptr);
  EXPECT_EQ(Open("ipv4:5.5.5.5:1"), nullptr) << "each address has one";
}

TEST_F(StreamPlacesTest, AnIpv6PrefixIsOneAddress) {
  for (const char* peer : {"ipv6:[2001:db8::1]:1", "ipv6:[2001:db8::2]:1", "ipv6:[2001:db8::3]:1"}) Open(peer);
  Open("ipv4:1.1.1.1:1");
  EXPECT_NE(Open("ipv4:2.2.2.2:1"), nullptr);
  EXPECT_TRUE(streams_[0].has_lost);
}

TEST_F(StreamPlacesTest, AnotherConnectionOfTheAddressGetsOneToo) {
  OpenMany("ipv6:[::1]:1", 4);
  EXPECT_NE(Open("ipv6:[::1]:2"), nullptr);
  EXPECT_TRUE(streams_[0].has_lost);
  EXPECT_EQ(Open("ipv6:[::1]:1"), nullptr);
  EXPECT_NE(Open("ipv6:[::1]:3"), nullptr);
}

TEST_F(StreamPlacesTest, OneThatLostItsPlaceHasNoneToGiveBack) {
  OpenMany("ipv4:1.1.1.1:1", 4);
  EXPECT_NE(Open("ipv4:2.2.2.2:1"), nullptr);
  places_.GiveBack(streams_[0]);
  EXPECT_EQ(Open("ipv4:1.1.1.1:1"), nullptr);
}

TEST_F(StreamPlacesTest, ConnectionsOfAUnixSocketAreOnePeer) {
  OpenMany("unix:", 4);
  EXPECT_EQ(Open("unix:"), nullptr);
  EXPECT_NE(Open("ipv4:1.1.1.1:1"), nullptr);
}

}  // namespace
}  // namespace latentd
