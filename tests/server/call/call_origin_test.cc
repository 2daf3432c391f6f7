#include "server/call/call_origin.h"

#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

const std::string kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(Traceparent, ExampleOfTheStandardIsValid) { EXPECT_TRUE(IsValidTraceparent(kTrace)); }

TEST(Traceparent, LaterVersionsMayGoOnBehindADash) {
  const std::string later = "cc" + kTrace.substr(2);
  EXPECT_TRUE(IsValidTraceparent(later));
  EXPECT_TRUE(IsValidTraceparent(later + "-what-the-future-will-be-like"));
  EXPECT_FALSE(IsValidTraceparent(later + ".what"));
  EXPECT_FALSE(IsValidTraceparent(later + "-" + std::string(300, 'a')));
}

TEST(Traceparent, EachPositionCounts) {
  for (size_t i = 0; i < kTrace.size(); ++i) {
    std::string wrong = kTrace;
    wrong[i] = wrong[i] == '-' ? '0' : 'G';
    EXPECT_FALSE(IsValidTraceparent(wrong)) << wrong;
  }
}

TEST(Traceparent, ZeroIdsAndVersionFfAreInvalid) {
  EXPECT_FALSE(IsValidTraceparent("00-" + std::string(32, '0') + kTrace.substr(35)));
  EXPECT_FALSE(IsValidTraceparent(kTrace.substr(0, 36) + std::string(16, '0') + "-01"));
  EXPECT_FALSE(IsValidTraceparent("ff" + kTrace.substr(2)));
}

TEST(Traceparent, LengthOfVersionZeroIsFixed) {
  EXPECT_FALSE(IsValidTraceparent(""));
  EXPECT_FALSE(IsValidTraceparent(kTrace.substr(0, 54)));
  EXPECT_FALSE(IsValidTraceparent(kTrace + "-00"));
}

}  // namespace
}  // namespace latentd
