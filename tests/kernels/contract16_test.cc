// The scalar contract of a16 itself: its flushing against the hardware's, its sums against double.
#include "tests/reference/contract16.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "tests/kernels/stored_matrix.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr float kTiny = 0x1p-126f;  // the smallest normal value

#ifdef __x86_64__
bool HasFlushingFma() { return __builtin_cpu_supports("fma"); }

__attribute__((target("fma"))) float HardwareFma(float a, float b, float c) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // FTZ and DAZ
  volatile float result = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
  _mm_setcsr(before);
  return result;
}
#else
bool HasFlushingFma() { return false; }
float HardwareFma(float, float, float) { return 0.0f; }
#endif

struct Operands {
  float a, b, c;
};

// Sums around ±2^-126, most a few units of the last place away, a few of them subnormal or with subnormal operands.
Operands NearSmallestNormal(std::mt19937& random) {
  const auto below = [&](uint32_t limit) { return static_cast<int>(random() % limit); };
  const float sign = below(2) == 0 ? 1.0f : -1.0f;
  const float near = sign * kTiny * (1.0f + static_cast<float>(below(8) - 4) * 0x1p-23f);
  const float a = (1.0f + static_cast<float>(below(1 << 23)) * 0x1p-23f) * 0x1p-75f;
  const float b = (1.0f + static_cast<float>(below(128)) * 0x1p-7f) * std::ldexp(1.0f, -79 + below(10));
  if (below(8) != 0) return {a, below(2) == 0 ? b : -b, near};
  return {a * 0x1p20f, std::ldexp(b, below(24)), std::ldexp(near, below(5) - 2)};
}

TEST(Contract16, FlushesAsTheHardwareDoes) {
  if (!HasFlushingFma()) {
    std::puts("SKIPPED: no fused multiply-add of x86 here to compare with");
    GTEST_SKIP();
  }
  std::mt19937 random(21);
  int kept = 0, flushed = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto [a, b, c] = NearSmallestNormal(random);
    const float want = HardwareFma(a, b, c), got = contract::FlushedFma(a, b, c);
    ASSERT_EQ(std::memcmp(&want, &got, sizeof(float)), 0)
        << a << " * " << b << " + " << c << ": " << got << ", " << want;
    if (std::fabs(c) < kTiny || std::fabs(std::fma(a, b, c)) != kTiny) continue;
    kept += got != 0.0f;
    flushed += got == 0.0f;
  }
  EXPECT_GT(kept, 1000);
  EXPECT_GT(flushed, 1000);
}

TEST(Contract16, AResultIsTinyAfterRounding) {
  EXPECT_EQ(contract::FlushedFma(-0x1p-76f, 0x1p-76f, kTiny), kTiny);  // 2^-152 less: nearest is 2^-126
  EXPECT_EQ(contract::FlushedFma(-0x1p-76f, 0x2p-76f, kTiny), kTiny);  // a tie, to even
  EXPECT_EQ(contract::FlushedFma(-0x1p-76f, 0x3p-76f, kTiny), 0.0f);
  EXPECT_EQ(contract::FlushedAdd(kTiny, -0x1p-127f), kTiny);  // a subnormal reads as zero
  EXPECT_EQ(contract::FlushedAdd(1.5f * kTiny, -kTiny), 0.0f);
}

contract::Matrix OneOutput(const std::vector<float>& weights) {
  return {.outputs = 1, .inputs = static_cast<int>(weights.size()), .codes = weights, .scales = {}};
}

TEST(Contract16, MoreZerosChangeOnlyTheSignOfAZero) {
  std::vector<float> x(64, 0.0f), w(64, 0x1p-63f);
  x[0] = 0x1p-63f;
  x[32] = -0x1.8p-63f;
  EXPECT_TRUE(SameBytes(contract::Linear16(OneOutput(w), x.data()), std::vector{-0.0f}));
  x.resize(65, 0.0f);
  w.resize(65, 0.0f);
  EXPECT_TRUE(SameBytes(contract::Linear16(OneOutput(w), x.data()), std::vector{0.0f}));
}

TEST(Contract16, EvenAndOddInputsAreSummedApart) {
  const std::vector<float> w(34, 1.0f);
  std::vector<float> x(34, 0.0f);
  x[0] = 0x1p24f;  // swallows a 1 that is added to it
  x[1] = x[3] = x[2] = 1.0f;
  EXPECT_EQ(contract::Linear16(OneOutput(w), x.data())[0], 0x1p24f + 2.0f);
  x[32] = x[33] = 1.0f;
  EXPECT_EQ(contract::Linear16(OneOutput(w), x.data())[0], 0x1p24f + 4.0f);
}

TEST(Contract16, IsCloseToDouble) {
  std::mt19937 random(22);
  for (const DType dtype : {DType::kBf16, DType::kE4M3}) {
    const StoredMatrix stored = StoredMatrix::Random(dtype, 150, 300, random);
    const std::vector<float> x = RandomValues(300, random);
    const reference::Vector want = reference::Linear(stored.Reference(), ToDouble(contract::Bf16(x.data(), 300)));
    EXPECT_LT(RelativeError(contract::Linear16(stored.Contract(), x.data()), want), 1e-6);
  }
}

TEST(Contract16, CodesAreCloseToDouble) {
  std::mt19937 random(23);
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, 150, 300, random);
  const contract::CodedRow x = contract::CodesOf(RandomValues(300, random), ScaleFormat::kF32);
  reference::Vector values;
  for (size_t i = 0; i < 300; ++i) values.push_back(double{x.Value(i)});
  const reference::Vector want = reference::Linear(stored.Reference(), values);
  EXPECT_LT(RelativeError(contract::LinearCoded(stored.Contract(), x), want), 1e-6);
}

}  // namespace
}  // namespace latentd
