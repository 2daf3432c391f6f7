#include "server/net/stream_debts.h"

#include <chrono>
#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

class StreamDebtsTest : public ::testing::Test {
 protected:
  using Connection = StreamDebts::Connection;

  std::unique_ptr<Connection> Connect(const std::string& peer) { return debts_.Connect(peer, now_); }
  bool Open(Connection& connection, int count) { return debts_.Add(connection, {.opened = double(count)}, now_); }
  // On a connection of its own.
  bool Open(const std::string& peer, int count) { return Open(*Connect(peer), count); }
  bool OpenAndAnswer(Connection& connection, double answers) {
    return debts_.Add(connection, {.opened = 1.0, .answered = answers}, now_);
  }
  // How many of `count` were opened one by one before one was too many.
  int OpenUntilCut(Connection& connection, int count) {
    int opened = 0;
    while (opened < count && Open(connection, 1)) ++opened;
    return opened;
  }
  void Wait(double seconds) { now_ += FromSeconds(seconds); }

 private:
  StreamDebts debts_;
  TimePoint now_ = TimePoint{} + std::chrono::hours(1);
};

TEST_F(StreamDebtsTest, WhatIsAnsweredIsOwedNoMore) {
  const auto connection = Connect("a");
  for (int i = 0; i < 100'000; ++i) ASSERT_TRUE(OpenAndAnswer(*connection, 1.0));
  int opened = 0;
  while (opened < 100'000 && OpenAndAnswer(*connection, opened % 2 == 0 ? 1.0 : 0.0)) ++opened;
  EXPECT_NEAR(opened, 2 * 2048, 2) << "every second in vain";
}

TEST_F(StreamDebtsTest, APeerMayOwe2048AndIsForgivenWithTime) {
  for (const char* peer : {"a", ""}) {
    const auto connection = Connect(peer);
    EXPECT_EQ(OpenUntilCut(*connection, 10'000), 2048);
    Wait(1.0);
    EXPECT_NEAR(OpenUntilCut(*connection, 10'000), 200, 2);
    Wait(60.0);
  }
}

TEST_F(StreamDebtsTest, OfAPeerThatOwesTooMuchModestConnectionsStay) {
  const auto modest = Connect("a");
  EXPECT_TRUE(Open(*modest, 10));
  const auto greedy = Connect("a");
  EXPECT_TRUE(Open(*greedy, 2000));
  EXPECT_FALSE(Open(*greedy, 100));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(OpenAndAnswer(*modest, 1.0));
  EXPECT_EQ(OpenUntilCut(*Connect("a"), 1000), 32) << "a new one as well";
  EXPECT_TRUE(Open("b", 1000));
}

TEST_F(StreamDebtsTest, WithoutANameEachConnectionIsAlone) {
  EXPECT_FALSE(Open("", 3000));
  EXPECT_TRUE(Open("", 1000));
}

TEST_F(StreamDebtsTest, ADebtOutlivesConnectionsHoweverManyPeersCome) {
  EXPECT_TRUE(Open("a", 2000));
  for (int i = 0; i < 1000; ++i) Connect("peer " + std::to_string(i));
  EXPECT_FALSE(Open("a", 100));
}

TEST_F(StreamDebtsTest, WhileThereAreTooManyInAllPeersWithMostMakeRoom) {
  const auto modest = Connect("modest");
  EXPECT_TRUE(Open(*modest, 1));
  for (const char* name : {"a", "b", "c"}) Open(name, 2000);
  EXPECT_FALSE(Open("a", 33));
  EXPECT_TRUE(Open(*modest, 200));
  EXPECT_EQ(OpenUntilCut(*modest, 1000), 55) << "256 in all";
  EXPECT_TRUE(Open("new", 100));
  Wait(2.0);
  EXPECT_TRUE(Open("a", 33));
}

TEST_F(StreamDebtsTest, WhatIsOwedIsBounded) {
  const auto connection = Connect("a");
  for (int i = 0; i < 100; ++i) Open(*connection, 1000);
  Wait(11.0);
  EXPECT_TRUE(Open(*connection, 1));
}

}  // namespace
}  // namespace latentd
