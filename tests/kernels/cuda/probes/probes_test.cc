// Each instruction of ptx.cuh against the PTX ISA, read as scalar C++ here and nowhere else.
#include "tests/kernels/cuda/probes/probes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"

namespace latentd::probes {
namespace {

using Words = std::vector<uint32_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }
float Value(uint32_t bits) { return std::bit_cast<float>(bits); }
uint16_t Low(uint32_t word) { return static_cast<uint16_t>(word); }
uint16_t High(uint32_t word) { return static_cast<uint16_t>(word >> 16); }
uint32_t Pair(uint16_t low, uint16_t high) { return uint32_t{low} | uint32_t{high} << 16; }

// IEEE binary16 by definition.
float DecodeHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits >> 15 != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * kInfinity;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

// Nearest, ties to even; infinity from 65520 on.
uint16_t EncodeHalf(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const double size = std::fabs(double{value});
  if (size >= 65520.0) return sign | 0x7C00;
  const int exponent = size == 0.0 ? -14 : std::max(std::ilogb(size), -14);
  const int quanta = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return static_cast<uint16_t>(sign | (quanta + ((exponent + 14) << 10)));
}

bool IsNanHalf(uint16_t bits) { return (bits & 0x7FFF) > 0x7C00; }
bool IsNanBf16(uint16_t bits) { return (bits & 0x7FFF) > 0x7F80; }

class Ptx : public testing::Test {
 protected:
  Words RandomWords(size_t count) {
    Words words(count);
    for (uint32_t& word : words) word = static_cast<uint32_t>(random_());
    return words;
  }
  // Finite values of all sizes, then those where conversions go wrong: around ties, overflow and the smallest numbers.
  std::vector<float> Values() {
    std::vector<float> values = {0.0f,   -0.0f,   1.0f,    17.0f,     19.0f,      448.0f,        463.9f,   464.0f,
                                 464.1f, 480.0f,  -1e30f,  kInfinity, -kInfinity, 65519.0f,      65520.0f, 65504.0f,
                                 1e-45f, -1e-45f, 1.0625f, 1.1875f,   3.4e38f,    3.3961775e38f, -65536.0f};
    for (int exponent = -30; exponent < 12; ++exponent) {
      for (int i = 0; i <= 64; ++i) values.push_back(std::ldexp(static_cast<float>(64 + i), exponent - 6));
    }
    std::uniform_int_distribution<uint32_t> bits(0, 0x7F7FFFFF);
    for (int i = 0; i < 2000; ++i) values.push_back(i % 2 == 0 ? Value(bits(random_)) : -Value(bits(random_)));
    if (values.size() % 2 != 0) values.push_back(2.0f);
    return values;
  }
  // As (high, low) pairs.
  static Words Pairs(const std::vector<float>& values) {
    Words words;
    for (const float value : values) words.push_back(Bits(value));
    return words;
  }

  std::mt19937 random_{40};  // fixed: a failure repeats
};

TEST_F(Ptx, SharedAddressesAreAsFarApartAsPointers) {
  const Words out = RunProbe(Probe::kSharedAddress, {}, kLanes);
  for (uint32_t lane = 0; lane < kLanes; ++lane) EXPECT_EQ(out[lane], 4 * lane);
}

TEST_F(Ptx, CpAsyncCopiesSourceBytesAndClearsTheRest) {
  for (const uint32_t shift : {0u, 5u, 16u}) {
    Words words = RandomWords(kLanes * 4), expected;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t source_bytes = (lane + shift) % 17;
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t left = source_bytes > 4 * i ? std::min(source_bytes - 4 * i, 4u) : 0;
        expected.push_back(left == 0 ? 0 : words[lane * 4 + i] & 0xFFFFFFFFu >> (32 - 8 * left));
      }
      words.push_back(source_bytes);
    }
    EXPECT_EQ(RunProbe(Probe::kCpAsyncCg16, words, kLanes * 4), expected);
  }
}

TEST_F(Ptx, CpAsyncWaitGroupLeavesTheNewestUnderWay) {
  const Words words = RandomWords(2 * kLanes * 4);
  EXPECT_EQ(RunProbe(Probe::kCpAsyncWaitGroup, words, words.size()), words);
}

// Element [row][column] of matrix m; its rows are those that lanes 8m … 8m+7 name.
uint16_t Element(const Words& words, uint32_t m, uint32_t row, uint32_t column) {
  const uint32_t named = words[kLanes * 4 + m * 8 + row];
  const uint32_t word = words[named * 4 + column / 2];
  return column % 2 == 0 ? Low(word) : High(word);
}

TEST_F(Ptx, LdmatrixGivesEachLaneTwoNeighboursOfARow) {
  Words words = RandomWords(kLanes * 4), rows(kLanes);
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), random_);
  words.insert(words.end(), rows.begin(), rows.end());
  Words plain, transposed;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t m = 0; m < 4; ++m) {
      const uint32_t a = lane / 4, b = 2 * (lane % 4);
      plain.push_back(Pair(Element(words, m, a, b), Element(words, m, a, b + 1)));
      transposed.push_back(Pair(Element(words, m, b, a), Element(words, m, b + 1, a)));
    }
  }
  EXPECT_EQ(RunProbe(Probe::kLdmatrixX4, words, plain.size()), plain);
  EXPECT_EQ(RunProbe(Probe::kLdmatrixX4Trans, words, plain.size()), transposed);
}

// m16n8k16: A [16][16], B [16][8], C [16][8] as values that halves hold exactly.
struct Product {
  float a[16][16], b[16][8], c[16][8];

  double Exact(int row, int column) const {
    double sum = c[row][column];
    for (int k = 0; k < 16; ++k) sum += double{a[row][k]} * b[k][column];
    return sum;
  }
  double Size(int row, int column) const {
    double sum = std::fabs(c[row][column]);
    for (int k = 0; k < 16; ++k) sum += std::fabs(double{a[row][k]} * b[k][column]);
    return sum;
  }

  // PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": element i of a lane's fragment.
  Words Fragments(uint16_t (*encode)(float)) const {
    Words words;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int group = lane >> 2, thread = lane % 4;
      const auto a_at = [&](int i) {
        const int row = i % 4 < 2 ? group : group + 8, column = thread * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        return encode(a[row][column]);
      };
      for (int i = 0; i < 8; i += 2) words.push_back(Pair(a_at(i), a_at(i + 1)));
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int group = lane >> 2, thread = lane % 4;
      const auto b_at = [&](int i) { return encode(b[thread * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group]); };
      for (int i = 0; i < 4; i += 2) words.push_back(Pair(b_at(i), b_at(i + 1)));
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 4; ++i) words.push_back(Bits(c[RowOf(lane, i)][ColumnOf(lane, i)]));
    }
    return words;
  }
  static int RowOf(int lane, int i) { return (lane >> 2) + (i < 2 ? 0 : 8); }
  static int ColumnOf(int lane, int i) { return lane % 4 * 2 + (i & 1); }
};

struct MmaCase {
  Probe probe;
  uint16_t (*encode)(float);
  float (*decode)(uint16_t);
};
constexpr MmaCase kMmaCases[] = {{Probe::kMmaM16N8K16Bf16, EncodeBf16, DecodeBf16},
                                 {Probe::kMmaM16N8K16F16, EncodeHalf, DecodeHalf}};

template <class Next>
Product Filled(const Next& next) {
  Product product;
  for (auto& row : product.a) std::generate(std::begin(row), std::end(row), next);
  for (auto& row : product.b) std::generate(std::begin(row), std::end(row), next);
  for (auto& row : product.c) std::generate(std::begin(row), std::end(row), next);
  return product;
}

TEST_F(Ptx, MmaOfSmallIntegersIsExact) {
  std::uniform_int_distribution<int> integers(-8, 8);
  for (const MmaCase& mma : kMmaCases) {
    const Product product = Filled([&] { return static_cast<float>(integers(random_)); });
    const Words out = RunProbe(mma.probe, product.Fragments(mma.encode), kLanes * 4);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const double exact = product.Exact(Product::RowOf(lane, i), Product::ColumnOf(lane, i));
        EXPECT_EQ(Value(out[static_cast<size_t>(lane * 4 + i)]), exact) << "lane " << lane << ", value " << i;
      }
    }
  }
}

TEST_F(Ptx, MmaSumsInFp32) {
  std::normal_distribution<float> normal;
  for (const MmaCase& mma : kMmaCases) {
    for (int round = 0; round < 8; ++round) {
      const Product product = Filled([&] { return mma.decode(mma.encode(normal(random_))); });
      const Words out = RunProbe(mma.probe, product.Fragments(mma.encode), kLanes * 4);
      for (int lane = 0; lane < kLanes; ++lane) {
        for (int i = 0; i < 4; ++i) {
          const int row = Product::RowOf(lane, i), column = Product::ColumnOf(lane, i);
          ASSERT_NEAR(Value(out[static_cast<size_t>(lane * 4 + i)]), product.Exact(row, column),
                      0x1p-20 * product.Size(row, column));
        }
      }
    }
  }
}

// E4M3 codes times a power of two become halves down to 2^-24: their subnormals must count.
TEST_F(Ptx, MmaKeepsSubnormalHalves) {
  std::uniform_int_distribution<int> integers(-8, 8);
  Product product = Filled([&] { return static_cast<float>(integers(random_)); });
  for (auto& row : product.a) {
    for (float& value : row) value *= 0x1p-24f;
  }
  for (auto& row : product.c) {
    for (float& value : row) value *= 0x1p-24f;
  }
  const Words out = RunProbe(Probe::kMmaM16N8K16F16, product.Fragments(EncodeHalf), kLanes * 4);
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(Value(out[static_cast<size_t>(lane * 4 + i)]),
                product.Exact(Product::RowOf(lane, i), Product::ColumnOf(lane, i)));
    }
  }
}

TEST_F(Ptx, EveryE4m3CodeBecomesItsHalf) {
  Words codes;
  for (uint32_t code = 0; code < 256; ++code) codes.push_back(code | (code * 37 + 11) % 256 << 8);
  const Words out = RunProbe(Probe::kCvtRnF16x2E4m3x2, codes, codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    for (const auto& [code, half] : {std::pair(codes[i] & 0xFF, Low(out[i])), std::pair(codes[i] >> 8, High(out[i]))}) {
      const auto byte = static_cast<uint8_t>(code);
      if (IsNanE4M3(byte)) {
        EXPECT_TRUE(IsNanHalf(half)) << code;
      } else {
        EXPECT_EQ(half, EncodeHalf(DecodeE4M3(byte))) << code;
      }
    }
  }
}

TEST_F(Ptx, ValuesBecomeTheNearestE4m3AndSaturate) {
  const std::vector<float> values = Values();
  const Words out = RunProbe(Probe::kCvtRnSatfiniteE4m3x2F32, Pairs(values), values.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i] & 0xFF, EncodeE4M3(values[2 * i + 1])) << values[2 * i + 1];
    EXPECT_EQ(out[i] >> 8, EncodeE4M3(values[2 * i])) << values[2 * i];
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(RunProbe(Probe::kCvtRnSatfiniteE4m3x2F32, Pairs({nan, -nan}), 1), Words{0x7F7F});
}

TEST_F(Ptx, ValuesBecomeTheNearestBf16) {
  const std::vector<float> values = Values();
  const Words out = RunProbe(Probe::kCvtRnBf16x2F32, Pairs(values), values.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(Low(out[i]), EncodeBf16(values[2 * i + 1])) << values[2 * i + 1];
    EXPECT_EQ(High(out[i]), EncodeBf16(values[2 * i])) << values[2 * i];
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const uint32_t nans = RunProbe(Probe::kCvtRnBf16x2F32, Pairs({nan, -nan}), 1)[0];
  EXPECT_TRUE(IsNanBf16(Low(nans)) && IsNanBf16(High(nans)));
}

TEST_F(Ptx, ValuesBecomeTheNearestHalf) {
  const std::vector<float> values = Values();
  const Words out = RunProbe(Probe::kCvtRnF16x2F32, Pairs(values), values.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(Low(out[i]), EncodeHalf(values[2 * i + 1])) << values[2 * i + 1];
    EXPECT_EQ(High(out[i]), EncodeHalf(values[2 * i])) << values[2 * i];
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const uint32_t nans = RunProbe(Probe::kCvtRnF16x2F32, Pairs({nan, -nan}), 1)[0];
  EXPECT_TRUE(IsNanHalf(Low(nans)) && IsNanHalf(High(nans)));
}

TEST_F(Ptx, EveryHalfBecomesItsFloat) {
  Words halves(1 << 16);
  std::iota(halves.begin(), halves.end(), 0);
  const Words out = RunProbe(Probe::kCvtF32F16, halves, halves.size());
  for (uint32_t half = 0; half < halves.size(); ++half) {
    const float expected = DecodeHalf(static_cast<uint16_t>(half));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(Value(out[half]))) << half;
    } else {
      ASSERT_EQ(out[half], Bits(expected)) << half;
    }
  }
}

TEST_F(Ptx, Ex2IsWithinItsBoundAndKeepsSubnormals) {
  Words words;
  for (float x = -150.0f; x < 128.0f; x += 0.0473f) words.push_back(Bits(x));
  for (float x = -149.0f; x < 128.0f; x += 1.0f) words.push_back(Bits(x));
  for (const float x : {0.0f, -0.0f, 1e-30f, -1e-7f, 127.99999f}) words.push_back(Bits(x));
  const Words out = RunProbe(Probe::kEx2Approx, words, words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    const double exact = std::exp2(double{Value(words[i])});
    EXPECT_NEAR(Value(out[i]), exact, 0x1p-22 * exact + 0x1p-149) << Value(words[i]);
  }
}

TEST_F(Ptx, Ex2OfWhatIsNotFinite) {
  const Words words = {Bits(-kInfinity), Bits(kInfinity), Bits(1000.0f), Bits(-1000.0f),
                       Bits(std::numeric_limits<float>::quiet_NaN())};
  const Words out = RunProbe(Probe::kEx2Approx, words, words.size());
  EXPECT_EQ(out[0], Bits(0.0f));
  EXPECT_EQ(out[1], Bits(kInfinity));
  EXPECT_EQ(out[2], Bits(kInfinity));
  EXPECT_EQ(out[3], Bits(0.0f));
  EXPECT_TRUE(std::isnan(Value(out[4])));
}

TEST_F(Ptx, StreamingLoadsReadWhatLiesThere) {
  const Words words = RandomWords(1000);
  EXPECT_EQ(RunProbe(Probe::kLdGlobalNcNoAllocateV4, words, words.size()), words);
}

}  // namespace
}  // namespace latentd::probes
