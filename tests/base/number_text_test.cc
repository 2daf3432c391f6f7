#include "base/number_text.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(NumberText, IsPlain) {
  EXPECT_EQ(NumberText(0.0), "0");
  EXPECT_EQ(NumberText(1.0f), "1");
  EXPECT_EQ(NumberText(100'000.0), "100000");
  EXPECT_EQ(NumberText(86'400.000000001), "86400.000000001");
  EXPECT_EQ(NumberText(0.0001), "0.0001");
  EXPECT_EQ(NumberText(0.1f), "0.1") << "a float's own digits";
  EXPECT_EQ(NumberText(1e-38f), "1e-38");
  EXPECT_EQ(NumberText(-3e38f), "-3e+38");
  EXPECT_EQ(NumberText(std::numeric_limits<float>::quiet_NaN()), "nan");
  EXPECT_EQ(NumberText(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(NumberText(uint64_t{1} << 63), "9223372036854775808");
}

TEST(NumberText, NeighboursLookDifferent) {
  EXPECT_EQ(NumberText(1.0000001f), "1.0000001");
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const auto number = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(number)) continue;
    EXPECT_EQ(static_cast<float>(std::strtod(NumberText(number).c_str(), nullptr)), number);
    EXPECT_NE(NumberText(number), NumberText(std::nextafter(number, std::numeric_limits<float>::infinity())));
    const double wide = number * 1.37;
    EXPECT_EQ(std::strtod(NumberText(wide).c_str(), nullptr), wide);
    EXPECT_NE(NumberText(wide), NumberText(std::nextafter(wide, 0.0)));
  }
}

}  // namespace
}  // namespace latentd
