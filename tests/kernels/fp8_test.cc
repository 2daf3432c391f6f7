// The number formats by exhaustion (docs/spec/deepseek.md 4.1 and 8).
#include "kernels/fp8.h"

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

double ByDefinition(int code) {
  const int exponent = (code >> 3) & 15, fraction = code & 7;
  const double magnitude =
      exponent == 0 ? fraction * std::pow(2.0, -9) : (1.0 + fraction / 8.0) * std::pow(2.0, exponent - 7);
  return code >= 128 ? -magnitude : magnitude;
}

TEST(E4M3, DecodesEveryCodeByDefinition) {
  for (int code = 0; code < 256; ++code) {
    const float value = DecodeE4M3(static_cast<uint8_t>(code));
    if (code % 128 == 127) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_TRUE(IsNanE4M3(static_cast<uint8_t>(code)));
    } else {
      EXPECT_EQ(static_cast<double>(value), ByDefinition(code)) << code;
      EXPECT_EQ(std::signbit(value), code >= 128) << code;
      EXPECT_FALSE(IsNanE4M3(static_cast<uint8_t>(code)));
    }
  }
}

TEST(E4M3, EncodesItsOwnValuesToTheSameCode) {
  for (int code = 0; code < 256; ++code) {
    if (code % 128 == 127) continue;
    EXPECT_EQ(EncodeE4M3(DecodeE4M3(static_cast<uint8_t>(code))), code);
  }
  EXPECT_TRUE(IsNanE4M3(EncodeE4M3(std::nanf(""))));
}

TEST(E4M3, EncodesTheGoldens) {
  EXPECT_EQ(EncodeE4M3(1.0f), 0x38);
  EXPECT_EQ(EncodeE4M3(240.0f), 0x77);
  EXPECT_EQ(EncodeE4M3(256.0f), 0x78);
  EXPECT_EQ(EncodeE4M3(17.0f), 0x58);
  EXPECT_EQ(EncodeE4M3(19.0f), 0x5A);
  EXPECT_EQ(DecodeE4M3(EncodeE4M3(1.0625f)), 1.0f);
  EXPECT_EQ(DecodeE4M3(EncodeE4M3(1.1875f)), 1.25f);
  EXPECT_EQ(EncodeE4M3(0x1p-10f), 0x00);
  EXPECT_EQ(EncodeE4M3(0x1.8p-9f), 0x02);
  EXPECT_EQ(DecodeE4M3(EncodeE4M3(463.9f)), 448.0f);
  EXPECT_EQ(DecodeE4M3(EncodeE4M3(1e30f)), 448.0f);
  EXPECT_EQ(DecodeE4M3(EncodeE4M3(-INFINITY)), -448.0f);
  EXPECT_EQ(EncodeE4M3(-0.0f), 0x80);
}

TEST(E4M3, EncodesToTheNearestValueTiesToEven) {
  std::vector<float> values;
  for (int code = 0; code < 126; ++code) {  // each midpoint and both its neighbours
    const auto low = ByDefinition(code), high = ByDefinition(code + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    values.insert(values.end(), {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)});
  }
  std::mt19937 random(1);
  std::uniform_real_distribution<float> exponent(-12.0f, 10.0f);
  for (int i = 0; i < 20000; ++i) values.push_back(std::exp2(exponent(random)));
  for (const float value : values) {
    int nearest = 0;
    for (int code = 1; code < 127; ++code) {
      const double now = std::fabs(ByDefinition(code) - static_cast<double>(value));
      const double best = std::fabs(ByDefinition(nearest) - static_cast<double>(value));
      if (now < best || (now == best && code % 2 == 0)) nearest = code;
    }
    EXPECT_EQ(EncodeE4M3(value), nearest) << value;
    EXPECT_EQ(EncodeE4M3(-value), nearest | 0x80) << value;
  }
}

TEST(E4M3, EncodingIsMonotone) {
  for (uint32_t bits = 0; bits < 0x7F800000u - 4099u; bits += 4099) {
    const uint8_t code = EncodeE4M3(std::bit_cast<float>(bits)), next = EncodeE4M3(std::bit_cast<float>(bits + 4099));
    ASSERT_LE(code, next) << bits;
  }
}

TEST(E8M0, IsAPowerOfTwo) {
  EXPECT_EQ(DecodeE8M0(127), 1.0f);
  EXPECT_EQ(DecodeE8M0(0), 0x1p-127f);
  EXPECT_EQ(DecodeE8M0(254), 0x1p127f);
  EXPECT_TRUE(std::isnan(DecodeE8M0(255)));
}

TEST(Bf16, RoundsToNearestEvenAndKeepsItsOwnValues) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = DecodeBf16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(DecodeBf16(EncodeBf16(value)))) << bits;
    } else {
      EXPECT_EQ(EncodeBf16(value), half);
    }
  }
  EXPECT_EQ(EncodeBf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // ties go to the even neighbour
  EXPECT_EQ(EncodeBf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(EncodeBf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
}

}  // namespace
}  // namespace latentd
