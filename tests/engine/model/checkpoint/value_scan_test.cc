#include "engine/model/checkpoint/value_scan.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"

namespace latentd {
namespace {

template <class Word>
std::vector<std::byte> Unaligned(const std::vector<Word>& words) {
  std::vector<std::byte> bytes(1 + words.size() * sizeof(Word));
  if (!words.empty()) std::memcpy(bytes.data() + 1, words.data(), words.size() * sizeof(Word));
  return bytes;
}

template <class Word>
std::optional<size_t> Scan(DType dtype, const std::vector<Word>& words) {
  const std::vector<std::byte> bytes = Unaligned(words);
  return FindNonFinite(dtype, std::span(bytes).subspan(1));
}

TEST(ValueScan, KnowsEveryE4M3Code) {
  for (int code = 0; code < 256; ++code) {
    const bool found = Scan(DType::kE4M3, std::vector{static_cast<uint8_t>(code)}).has_value();
    EXPECT_EQ(found, std::isnan(DecodeE4M3(static_cast<uint8_t>(code)))) << code;
  }
}

TEST(ValueScan, KnowsEveryBf16Value) {
  for (int bits = 0; bits < 65536; ++bits) {
    const bool found = Scan(DType::kBf16, std::vector{static_cast<uint16_t>(bits)}).has_value();
    EXPECT_EQ(found, !std::isfinite(DecodeBf16(static_cast<uint16_t>(bits)))) << bits;
  }
}

TEST(ValueScan, FindsTheFirstFaultWhereverItLies) {
  const float kInfinity = std::numeric_limits<float>::infinity();
  const float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t place : {0u, 1u, 4095u, 4096u, 9999u}) {
    std::vector<float> values(10'000, std::numeric_limits<float>::max());
    EXPECT_EQ(Scan(DType::kF32, values), std::nullopt);
    values[place] = -kInfinity;
    values.back() = kNan;
    EXPECT_EQ(Scan(DType::kF32, values), place);
  }
}

TEST(ValueScan, SubnormalsAndNothingAreFinite) {
  EXPECT_EQ(Scan(DType::kF32, std::vector{std::numeric_limits<float>::denorm_min(), -0.0f}), std::nullopt);
  EXPECT_EQ(Scan(DType::kBf16, std::vector<uint16_t>()), std::nullopt);
}

}  // namespace
}  // namespace latentd
