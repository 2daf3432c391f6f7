// Tensor-core operations and cp.async: results, in every completion mode.
#include <bit>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/number_formats.h"
#include "tests/cuda_emulator/runtime/tests/launch.h"

namespace cuda_emulator {
namespace {

TEST(NumberFormats, F16AndE4m3MatchTheirDefinitions) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const int exponent = static_cast<int>(bits >> 10);
    const double mantissa = bits & 0x3FF;
    const double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(FloatFromF16(static_cast<uint16_t>(bits)), value) << bits;
    ASSERT_EQ(FloatFromF16(static_cast<uint16_t>(bits | 0x8000)), -value) << bits;
  }
  EXPECT_TRUE(std::isinf(FloatFromF16(0x7C00)));
  EXPECT_TRUE(std::isnan(FloatFromF16(0x7C01)));
  for (uint32_t bits = 0; bits < 0x7F; ++bits) {
    const int exponent = static_cast<int>(bits >> 3);
    const double mantissa = bits & 7;
    const double value = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    ASSERT_EQ(FloatFromE4m3(static_cast<uint8_t>(bits)), value) << bits;
    ASSERT_EQ(FloatFromE4m3(static_cast<uint8_t>(bits | 0x80)), -value) << bits;
  }
  EXPECT_TRUE(std::isnan(FloatFromE4m3(0x7F)));
  EXPECT_TRUE(std::isnan(FloatFromE4m3(0xFF)));
}

// A 16 x depth row-major and B depth x 8 as [8][depth], in the shape's number format, and C.
struct MmaProblem {
  MmaShape shape;
  uint32_t depth;  // 16, or 32 for bytes
  uint32_t element_bytes;
  std::vector<uint8_t> a, b;
  float c[16][8];
  float d[16][8];
};

uint32_t WordAt(const std::vector<uint8_t>& bytes, size_t offset) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

double ElementAt(const MmaProblem& problem, const std::vector<uint8_t>& bytes, uint32_t row, uint32_t k) {
  const size_t i = (row * problem.depth + k) * problem.element_bytes;
  switch (problem.shape) {
    case MmaShape::kM16N8K16Bf16:
      return FloatFromBf16(static_cast<uint16_t>(bytes[i] | bytes[i + 1] << 8));
    case MmaShape::kM16N8K16F16:
      return FloatFromF16(static_cast<uint16_t>(bytes[i] | bytes[i + 1] << 8));
    case MmaShape::kM16N8K32E4m3:
      return FloatFromE4m3(bytes[i]);
  }
  return NAN;
}

// The manual's fragment layouts, in bytes: a lane's registers hold 4 bytes of row g (and g + 8) at 4t, and again 16
// further.
void MultiplyFragments(MmaProblem& problem) {
  const uint32_t g = current_thread->lane / 4, t = current_thread->lane % 4;
  const size_t row_bytes = problem.depth * problem.element_bytes;
  const uint32_t a[4] = {WordAt(problem.a, g * row_bytes + 4 * t), WordAt(problem.a, (g + 8) * row_bytes + 4 * t),
                         WordAt(problem.a, g * row_bytes + 16 + 4 * t),
                         WordAt(problem.a, (g + 8) * row_bytes + 16 + 4 * t)};
  const uint32_t b[2] = {WordAt(problem.b, g * row_bytes + 4 * t), WordAt(problem.b, g * row_bytes + 16 + 4 * t)};
  float c[4] = {problem.c[g][2 * t], problem.c[g][2 * t + 1], problem.c[g + 8][2 * t], problem.c[g + 8][2 * t + 1]};
  Mma(problem.shape, a, b, c, c, SITE, HERE);
  problem.d[g][2 * t] = c[0];
  problem.d[g][2 * t + 1] = c[1];
  problem.d[g + 8][2 * t] = c[2];
  problem.d[g + 8][2 * t + 1] = c[3];
}

class MmaShapes : public testing::TestWithParam<MmaShape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, MmaShapes,
                         testing::Values(MmaShape::kM16N8K16Bf16, MmaShape::kM16N8K16F16, MmaShape::kM16N8K32E4m3));

TEST_P(MmaShapes, MultiplyAsTheScalarModel) {
  static MmaProblem problem;
  const bool is_bytes = GetParam() == MmaShape::kM16N8K32E4m3;
  problem = {.shape = GetParam(),
             .depth = is_bytes ? 32u : 16u,
             .element_bytes = is_bytes ? 1u : 2u,
             .a = {},
             .b = {},
             .c = {},
             .d = {}};
  std::mt19937 random(11);
  const auto fill = [&](std::vector<uint8_t>& bytes, size_t rows) {
    bytes.resize(rows * 32);
    for (size_t i = 0; i < bytes.size(); ++i) {
      // Small finite numbers: the top byte of 16-bit formats keeps its exponent near 1.
      const uint32_t mantissa = random() & 0xFF;
      bytes[i] = static_cast<uint8_t>(is_bytes     ? (random() & 0x80) | (0x20 + random() % 0x28)
                                      : i % 2 == 0 ? mantissa
                                                   : (random() & 0x80) | (0x3B + random() % 5));
    }
  };
  fill(problem.a, 16);
  fill(problem.b, 8);
  for (auto& row : problem.c) {
    for (float& value : row) value = static_cast<float>(random() % 1000) / 100;
  }
  LaunchPlain({}, [](const std::byte*) { MultiplyFragments(problem); });
  for (uint32_t m = 0; m < 16; ++m) {
    for (uint32_t n = 0; n < 8; ++n) {
      double sum = problem.c[m][n], size = std::abs(sum);
      for (uint32_t k = 0; k < problem.depth; ++k) {
        const double product = ElementAt(problem, problem.a, m, k) * ElementAt(problem, problem.b, n, k);
        sum += product;
        size += std::abs(product);
      }
      EXPECT_NEAR(problem.d[m][n], sum, size * 1e-6) << m << "," << n;
    }
  }
}

TEST(LoadMatrix, GivesRowsOrColumnsOfEachMatrix) {
  static uint32_t results[3][32][4];
  LaunchPlain({}, [](const std::byte*) {
    auto* elements = SharedArray<uint16_t>();
    const uint32_t lane = current_thread->lane;
    // Row r of matrix i lies at row 8i+r; the element is 100 * row + column.
    for (uint32_t column = 0; column < 8; ++column) {
      elements[lane * 8 + column] = static_cast<uint16_t>(100 * lane + column);
    }
    WarpSync(kFullMask, HERE);
    const uint32_t address = SharedAddress(elements + lane * 8);
    LoadMatrix(4, false, address, results[0][lane], SITE, HERE);
    LoadMatrix(4, true, address, results[1][lane], SITE, HERE);
    LoadMatrix(2, false, lane < 16 ? address : 0, results[2][lane], SITE, HERE);
  });
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t straight = 100 * (8 * i + g) + 2 * t;
      EXPECT_EQ(results[0][lane][i], straight | (straight + 1) << 16);
      const uint32_t turned = 100 * (8 * i + 2 * t) + g;
      EXPECT_EQ(results[1][lane][i], turned | (turned + 100) << 16);
      if (i < 2) {
        EXPECT_EQ(results[2][lane][i], straight | (straight + 1) << 16);
      }
    }
  }
}

TEST(LoadMatrix, RowsMustBeAlignedAndShared) {
  EXPECT_FAILURE(LaunchPlain({},
                             [](const std::byte*) {
                               uint32_t out[1];
                               LoadMatrix(1, false, SharedAddress(SharedBase()) + 8, out, SITE, HERE);
                             }),
                 "misaligned: .*not a multiple of 16");
  EXPECT_FAILURE(LaunchPlain({},
                             [](const std::byte*) {
                               uint32_t out[1];
                               LoadMatrix(1, false, 0x100, out, SITE, HERE);
                             }),
                 "out-of-bounds: .*not in shared memory");
}

class AsyncModes : public testing::TestWithParam<AsyncCompletion> {
 protected:
  void SetUp() override { SetSchedule({.async = GetParam(), .seed = 3}); }
  void TearDown() override { SetSchedule({}); }
};
INSTANTIATE_TEST_SUITE_P(Modes, AsyncModes,
                         testing::Values(AsyncCompletion::kEarly, AsyncCompletion::kLate, AsyncCompletion::kRandom));

// Four stages in two buffers, waited for one group behind.
void SumPipelined(const float* input, float* sum) {
  auto* buffers = SharedArray<float>();
  const auto issue = [&](uint32_t stage) {
    const uint32_t i = current_thread->lane;
    AsyncCopy(SharedAddress(buffers + (stage % 2) * 128 + 4 * i), input + stage * 128 + 4 * i, 16, 16, HERE);
    AsyncCommit();
  };
  float total = 0;
  issue(0);
  for (uint32_t stage = 0; stage < 4; ++stage) {
    if (stage < 3) issue(stage + 1);
    AsyncWait(stage < 3 ? 1 : 0, HERE);
    SYNC_THREADS();
    for (uint32_t i = 0; i < 128; ++i) total += LOAD(buffers + (stage % 2) * 128 + i);
    SYNC_THREADS();
  }
  sum[current_thread->lane] = total;
}

TEST_P(AsyncModes, APipelineGetsItsData) {
  static float sums[32];
  std::vector<float> values(512);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const auto* input = DeviceArrayOf(values);
  for (const bool shadow : {false, true}) {
    const LaunchShape shape;
    RunKernel(MakeKernel([](const std::byte* p) { SumPipelined(Argument<float>(p), sums); }, shape, shadow), shape,
              const_cast<float*>(input));
    for (const float sum : sums) EXPECT_EQ(sum, 511 * 512 / 2);
  }
}

TEST_P(AsyncModes, TheRestOfAShortSourceIsZero) {
  static uint32_t words[3][4];
  const auto* input = DeviceArrayOf<uint32_t>({1, 2, 3, 4});
  LaunchShadow(
      {.threads = 1},
      [](const std::byte* p) {
        auto* shared = SharedArray<uint32_t>();
        AsyncCopy(SharedAddress(shared), Argument<uint32_t>(p), 16, 6, HERE);
        AsyncCopy(SharedAddress(shared + 4), nullptr, 16, 0, HERE);
        AsyncCopy(SharedAddress(shared + 8), Argument<uint32_t>(p), 4, 4, HERE);
        AsyncCommit();
        AsyncWait(0, HERE);
        for (int i = 0; i < 9; ++i) words[i / 4][i % 4] = LOAD(shared + i);
      },
      const_cast<uint32_t*>(input));
  EXPECT_EQ(words[0][0], 1u);
  EXPECT_EQ(words[0][1], 2u);
  EXPECT_EQ(words[0][2], 0u);
  EXPECT_EQ(words[0][3], 0u);
  EXPECT_EQ(words[1][0], 0u);
  EXPECT_EQ(words[2][0], 1u);
}

TEST(AsyncCompletion, EarlyIsThereAtOnceAndLateIsPoisonUntilTheWait) {
  static uint32_t before, after;
  const auto* input = DeviceArrayOf<uint32_t>({42});
  for (const AsyncCompletion mode : {AsyncCompletion::kEarly, AsyncCompletion::kLate}) {
    SetSchedule({.async = mode});
    LaunchPlain(
        {.threads = 1},
        [](const std::byte* p) {
          auto* shared = SharedArray<volatile uint32_t>();
          AsyncCopy(SharedAddress(const_cast<uint32_t*>(shared)), Argument<uint32_t>(p), 4, 4, HERE);
          AsyncCommit();
          before = *shared;
          AsyncWait(0, HERE);
          after = *shared;
        },
        const_cast<uint32_t*>(input));
    EXPECT_EQ(before, mode == AsyncCompletion::kEarly ? 42u : ~0u);
    EXPECT_EQ(after, 42u);
  }
  SetSchedule({});
}

TEST_P(AsyncModes, CopiesNeverWaitedForAreAFailure) {
  const auto* input = DeviceArrayOf<uint32_t>({1, 2, 3, 4});
  EXPECT_FAILURE(LaunchPlain(
                     {.threads = 1},
                     [](const std::byte* p) {
                       AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
                       AsyncWait(0, HERE);  // of a group never committed
                     },
                     const_cast<uint32_t*>(input)),
                 "async: .*a thread ends with 1 cp.async copies it never waited for");
}

TEST_P(AsyncModes, OperandsAreChecked) {
  const auto* input = DeviceArrayOf<uint32_t>({1, 2, 3, 4});
  auto* argument = const_cast<uint32_t*>(input);
  EXPECT_FAILURE(
      LaunchPlain(
          {.threads = 1},
          [](const std::byte* p) { AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p) + 1, 16, 16, HERE); },
          argument),
      "misaligned: ");
  EXPECT_FAILURE(
      LaunchPlain(
          {.threads = 1},
          [](const std::byte* p) { AsyncCopy(SharedAddress(SharedBase()) + 4, Argument<uint32_t>(p), 16, 16, HERE); },
          argument),
      "misaligned: ");
  EXPECT_FAILURE(
      LaunchPlain(
          {.threads = 1}, [](const std::byte* p) { AsyncCopy(0, Argument<uint32_t>(p), 4, 4, HERE); }, argument),
      "out-of-bounds: .*not in shared memory");
}

}  // namespace
}  // namespace cuda_emulator
