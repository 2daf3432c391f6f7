#include "server/upload_ledger.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

class UploadLedgerTest : public ::testing::Test {
 protected:
  UploadLedgerTest() { ledger_.SetLimit(100); }

  UploadLedger ledger_;
};

TEST_F(UploadLedgerTest, BelowTheLimitAllStay) {
  const auto a = ledger_.Connect("a"), b = ledger_.Connect("b");
  EXPECT_TRUE(ledger_.Hold(*a, 90));
  EXPECT_TRUE(ledger_.Hold(*b, 10));
  EXPECT_EQ(ledger_.num_bytes(), 100U);
  EXPECT_TRUE(ledger_.Hold(*a, 0));
  EXPECT_EQ(ledger_.num_bytes(), 10U);
}

TEST_F(UploadLedgerTest, BeyondItThoseAboveTheAverageGo) {
  const auto large = ledger_.Connect("a"), small = ledger_.Connect("b");
  EXPECT_TRUE(ledger_.Hold(*large, 90));
  EXPECT_TRUE(ledger_.Hold(*small, 20)) << "it grows, but is not the one to go";
  EXPECT_TRUE(ledger_.Hold(*large, 85)) << "it gets less";
  EXPECT_FALSE(ledger_.Hold(*large, 95));
}

TEST_F(UploadLedgerTest, OfOnePeerTheConnectionThatHasMostGoes) {
  const auto large = ledger_.Connect("a"), small = ledger_.Connect("a");
  EXPECT_TRUE(ledger_.Hold(*large, 90));
  EXPECT_TRUE(ledger_.Hold(*small, 15));
  EXPECT_FALSE(ledger_.Hold(*large, 91));
}

TEST_F(UploadLedgerTest, ManyConnectionsOfOnePeerAreOne) {
  std::vector<std::unique_ptr<UploadLedger::Connection>> crowd;
  for (int i = 0; i < 9; ++i) {
    crowd.push_back(ledger_.Connect("a"));
    EXPECT_TRUE(ledger_.Hold(*crowd.back(), 10));
  }
  const auto other = ledger_.Connect("b");
  EXPECT_TRUE(ledger_.Hold(*other, 40)) << "less than the other peer";
  EXPECT_FALSE(ledger_.Hold(*crowd.back(), 11));
}

TEST_F(UploadLedgerTest, WithoutANameAConnectionIsAlone) {
  const auto large = ledger_.Connect(""), small = ledger_.Connect("");
  EXPECT_TRUE(ledger_.Hold(*large, 100));
  EXPECT_TRUE(ledger_.Hold(*small, 1));
  EXPECT_FALSE(ledger_.Hold(*large, 101));
}

TEST_F(UploadLedgerTest, OneThatIsOverHoldsNothing) {
  const auto a = ledger_.Connect("a");
  EXPECT_TRUE(ledger_.Hold(*a, 100));
  ledger_.Close(*a);
  EXPECT_EQ(ledger_.num_bytes(), 0U);
  EXPECT_TRUE(ledger_.Hold(*a, 200)) << "a late word of its reader";
  EXPECT_EQ(ledger_.num_bytes(), 0U);
}

}  // namespace
}  // namespace latentd
