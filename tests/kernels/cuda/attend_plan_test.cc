// The arithmetic of AttendLatent's scratch memory on CUDA, and its weights as the host packs them: no GPU needed.
#include "kernels/cuda/attend_plan.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/key_value_up.h"
#include "kernels/fp8.h"
#include "tests/kernels/attention_shapes.h"
#include "tests/kernels/stored_matrix.h"

namespace latentd {
namespace {

constexpr AttentionShape kV3 = {
    .num_heads = 128, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};

TEST(AttendPlan, HoldsAWholeSmallStep) {
  const cuda::AttendPlan plan(kTinyTales, 64, 1100);
  EXPECT_EQ(plan.max_ranges, 3);
  EXPECT_EQ(plan.WaveTokens(3), 64);
  EXPECT_EQ(plan.max_pairs, 3 * 64);
  EXPECT_EQ(plan.latent_bytes(), size_t{3 * 64 * 4 * 64 * 4});
}

TEST(AttendPlan, StaysWithinItsBound) {
  const cuda::AttendPlan plan(kV3, 8192, 163840);
  EXPECT_LE(plan.bytes(), cuda::AttendPlan::kMaxBytes);
  EXPECT_EQ(plan.WaveTokens(1), cuda::AttendPlan::kMaxWaveTokens);
  for (int ranges = 1; ranges <= plan.max_ranges; ++ranges) {
    EXPECT_GE(plan.WaveTokens(ranges), 1);
    EXPECT_LE(plan.WaveTokens(ranges) * ranges, plan.max_pairs);
  }
}

TEST(AttendPlan, OneTokenAlwaysFits) {
  const cuda::AttendPlan plan(kV3, 4, 4 << 20);
  EXPECT_EQ(plan.WaveTokens(plan.max_ranges), 1);
  EXPECT_GT(plan.bytes(), cuda::AttendPlan::kMaxBytes);
}

TEST(SupportsAttention, NamesWhatIsTooWide) {
  EXPECT_TRUE(cuda::SupportsAttention(kV3).ok());
  EXPECT_TRUE(cuda::SupportsAttention(kOdd).ok());
  AttentionShape wide = kV3;
  wide.latent_width = 640;
  EXPECT_EQ(cuda::SupportsAttention(wide).code(), absl::StatusCode::kUnimplemented);
  wide = kV3;
  wide.rope_width = 256;
  const absl::Status status = cuda::SupportsAttention(wide);
  EXPECT_NE(std::string(status.message()).find("768"), std::string::npos) << status.message();
}

// What lies at [output, input] of a head: the sum of the planes.
double PackedValue(const cuda::HeadMatrices& m, const uint16_t* tiles, int head, int output, int input) {
  const int row = output % 16, column = input % 16;
  const int lane = row % 8 * 4 + column % 8 / 2, reg = row / 8 + 2 * (column / 8);
  const auto tile = static_cast<size_t>((head * m.output_tiles() + output / 16) * m.input_tiles() + input / 16);
  double sum = 0.0;
  for (size_t plane = 0; plane < static_cast<size_t>(m.planes); ++plane) {
    const size_t at = (tile * static_cast<size_t>(m.planes) + plane) * 256;
    sum += static_cast<double>(DecodeBf16(tiles[at + static_cast<size_t>(lane * 8 + reg * 2 + column % 2)]));
  }
  return sum;
}

void ExpectPacked(const AttentionShape& shape, DType dtype, double error) {
  std::mt19937 random(3);
  const int head_rows = shape.nope_width + shape.value_width;
  const StoredMatrix stored = StoredMatrix::Random(dtype, shape.num_heads * head_rows, shape.latent_width, random);
  const reference::Rows rows = stored.Reference();
  const cuda::KeyValueUpMatrices sizes = cuda::KeyValueUpSizes(dtype, shape);
  std::vector<uint16_t> tiles(sizes.num_values(), 0x7FFF);
  cuda::PackKeyValueUpTiles(stored.Source(), shape, tiles);
  const auto expect = [&](const cuda::HeadMatrices& m, const uint16_t* first, const auto& value) {
    for (int head = 0; head < m.num_heads; ++head) {
      for (int output = 0; output < 16 * m.output_tiles(); ++output) {
        for (int input = 0; input < 16 * m.input_tiles(); ++input) {
          const double wanted = output < m.outputs && input < m.inputs ? value(head, output, input) : 0.0;
          const double found = PackedValue(m, first, head, output, input);
          ASSERT_LE(std::fabs(found - wanted), error * std::fabs(wanted)) << head << " " << output << " " << input;
        }
      }
    }
  };
  const auto at = [&](int head, int row, int latent) {
    return rows[static_cast<size_t>(head * head_rows + row)][static_cast<size_t>(latent)];
  };
  expect(sizes.key, tiles.data(), [&](int head, int latent, int nope) { return at(head, nope, latent); });
  expect(sizes.value, tiles.data() + sizes.key.num_values(),
         [&](int head, int value, int latent) { return at(head, shape.nope_width + value, latent); });
}

TEST(KeyValueUp, PlanesAddUpToTheStoredValue) {
  for (const AttentionShape& shape : {kTinyTales, kOdd}) {
    ExpectPacked(shape, DType::kBf16, 0.0);
    ExpectPacked(shape, DType::kF32, 0x1p-17);
    ExpectPacked(shape, DType::kE4M3, 0x1p-17);
  }
}

}  // namespace
}  // namespace latentd
