// The functions that the kernels' bits rest on: exp, log and the generator behind every draw.
#include <cmath>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cpu/log.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/vocab_passes.h"
#include "tests/reference/contract.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> Exp(const std::vector<float>& x) {
  std::vector<float> out(x.size());
  cpu::ExpWeights(x, 0.0f, 1.0f, out);
  return out;
}

TEST(Exp, IsWithinThreeUnitsInTheLastPlace) {
  std::vector<float> x;
  for (float v = -87.0f; v <= 88.0f; v += 0.00131f) x.push_back(v);
  ForEachTarget([&] {
    const std::vector<float> y = Exp(x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(double{x[i]});
      const float rounded = static_cast<float>(exact);
      ASSERT_LE(std::fabs(y[i] - exact), 3.0 * (std::nextafter(rounded, kInfinity) - rounded)) << "exp of " << x[i];
    }
  });
}

TEST(Exp, HasTheSameBitsOnEveryTarget) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-100.0f, 100.0f);
  std::vector<float> x = {0.0f, -0.0f, -kInfinity, -87.0f, std::nextafter(-87.0f, -88.0f), 88.0f, kInfinity, -1e-30f};
  for (int i = 0; i < 20000; ++i) x.push_back(uniform(random));
  std::vector<float> expected;
  for (const float v : x) expected.push_back(contract::Exp(v));
  ForEachTarget([&] { EXPECT_TRUE(SameBytes(Exp(x), expected)); });
}

TEST(Exp, IsOneAtZeroAndZeroFarBelow) {
  EXPECT_THAT(Exp({0.0f, -88.0f, -kInfinity}), testing::ElementsAre(1.0f, 0.0f, 0.0f));
}

TEST(Exp, SumOverAVocabularyIsThatOfDoubles) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  for (const int size : {1, 15, 16, 17, 255, 256, 257, 4099, 129280}) {
    std::vector<float> x(static_cast<size_t>(size));
    for (float& v : x) v = normal(random);
    const float largest = cpu::Largest(x);
    double sum = 0.0;
    for (const float v : x) sum += std::exp(double{v} - largest);
    const double expected = cpu::SumOfExp(x, largest);
    EXPECT_NEAR(expected / sum, 1.0, 1e-6) << size << " values";
    ForEachTarget([&] { EXPECT_EQ(cpu::SumOfExp(x, largest), expected) << size << " values"; });
  }
}

TEST(Log, IsWithinTwoUnitsInTheLastPlaceOfDouble) {
  for (double x = 1e-300; x < 1e300; x *= 1.0371) {
    ASSERT_NEAR(cpu::Log(x), std::log(x), 5e-16 * std::max(1.0, std::fabs(std::log(x)))) << "log of " << x;
  }
  for (double x = 0.5; x < 2.0; x += 0.00013) ASSERT_NEAR(cpu::Log(x), std::log(x), 5e-16) << "log of " << x;
  EXPECT_EQ(cpu::Log(1.0), 0.0);
}

// The known answers of the Random123 library.
TEST(Philox, GivesTheKnownAnswers) {
  using testing::ElementsAre;
  EXPECT_THAT(cpu::Philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(cpu::Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(cpu::Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Philox, UniformDrawIsTheFirstWordsUpper24Bits) {
  EXPECT_EQ(cpu::UniformDraw(0, 0, 0), 0x6627e8 * 0x1p-24);
  const uint64_t seed = 0x299f31d0a4093822;
  EXPECT_EQ(cpu::UniformDraw(seed, 7, 9), (cpu::Philox4x32({7, 9, 0, 0}, {0xa4093822, 0x299f31d0})[0] >> 8) * 0x1p-24);
}

}  // namespace
}  // namespace latentd
