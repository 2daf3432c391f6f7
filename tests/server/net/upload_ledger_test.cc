#include "server/net/upload_ledger.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::Optional;

constexpr size_t kLimit = 100;

class UploadLedgerTest : public ::testing::Test {
 protected:
  UploadLedgerTest() { ledger_.SetLimit(kLimit); }

  // A connection, named by its place in the order of their making, and who has to go for what it holds.
  std::optional<int> Hold(size_t connection, size_t num_bytes) {
    return ledger_.Hold(*connections_[connection], num_bytes);
  }
  size_t Connect(const std::string& peer) {
    connections_.push_back(ledger_.Connect(peer, static_cast<int>(connections_.size())));
    return connections_.size() - 1;
  }

  UploadLedger ledger_;
  std::vector<std::unique_ptr<UploadLedger::Connection>> connections_;
};

TEST_F(UploadLedgerTest, UpToTheLimitAllStay) {
  const size_t a = Connect("a"), b = Connect("b");
  EXPECT_EQ(Hold(a, 90), std::nullopt);
  EXPECT_EQ(Hold(b, 10), std::nullopt);
  EXPECT_EQ(ledger_.num_bytes(), kLimit);
  EXPECT_EQ(Hold(a, 0), std::nullopt);
  EXPECT_EQ(ledger_.num_bytes(), 10U);
}

TEST_F(UploadLedgerTest, BeyondItTheOneThatHoldsMostGoesThoughItIsQuiet) {
  const size_t large = Connect("a"), small = Connect("b");
  EXPECT_EQ(Hold(large, 90), std::nullopt);
  EXPECT_THAT(Hold(small, 20), Optional(static_cast<int>(large)));
  EXPECT_EQ(ledger_.num_bytes(), 20U) << "it is over";
  EXPECT_EQ(Hold(large, 95), std::nullopt) << "a late word of its reader";
  EXPECT_EQ(ledger_.num_bytes(), 20U);
}

TEST_F(UploadLedgerTest, ManyConnectionsOfOnePeerAreOne) {
  const size_t largest = Connect("a");
  EXPECT_EQ(Hold(largest, 15), std::nullopt);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Hold(Connect("a"), 9), std::nullopt);
  const size_t other = Connect("b");
  EXPECT_EQ(Hold(other, 40), std::nullopt);
  EXPECT_THAT(Hold(other, 45), Optional(static_cast<int>(largest))) << "of the peer that holds most";
}

TEST_F(UploadLedgerTest, HoweverTheyParkTheLimitHolds) {
  for (const char* peer : {"a", "b", "c", ""}) {
    for (int i = 0; i < 20; ++i) {
      const size_t parked = Connect(peer);
      for (size_t num_bytes = 10; num_bytes < kLimit; num_bytes += 10) {
        Hold(parked, num_bytes);
        ASSERT_LE(ledger_.num_bytes(), kLimit);
      }
    }
  }
}

TEST_F(UploadLedgerTest, WithoutANameAConnectionIsAlone) {
  const size_t large = Connect(""), small = Connect("");
  EXPECT_EQ(Hold(large, 60), std::nullopt);
  EXPECT_EQ(Hold(small, 40), std::nullopt);
  EXPECT_THAT(Hold(small, 41), Optional(static_cast<int>(large)));
}

TEST_F(UploadLedgerTest, OneThatIsOverHoldsNothing) {
  const size_t a = Connect("a");
  EXPECT_EQ(Hold(a, kLimit), std::nullopt);
  ledger_.Close(*connections_[a]);
  EXPECT_EQ(ledger_.num_bytes(), 0U);
  EXPECT_EQ(Hold(a, 2 * kLimit), std::nullopt);
  EXPECT_EQ(ledger_.num_bytes(), 0U);
}

}  // namespace
}  // namespace latentd
