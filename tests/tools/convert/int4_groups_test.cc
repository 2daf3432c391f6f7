// INT4 groups: bytes from the format's definition, and what searching a scale is worth.
#include "tools/convert/int4_groups.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/tools/convert/written.h"
#include "tools/convert/planned_tensor.h"

namespace latentd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Counted from what the codes stand for, in double.
double ErrorOf(const std::vector<float>& values, Int4Scales scales) {
  const Int4Codes codes = QuantizeGroup(values, scales);
  double error = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - (codes.nibbles[i] - 8.0) * double{codes.scale}, 2);
  }
  return error;
}

TEST(QuantizeGroup, TheLargestMagnitudeBecomesSeven) {
  const Int4Codes codes =
      QuantizeGroup(std::vector<float>{-14.0f, 1.0f, 3.0f, -1.0f, 5.0f, 0.0f}, Int4Scales::kNearest);
  EXPECT_EQ(codes.scale, 2.0f);
  EXPECT_THAT(std::vector(codes.nibbles.begin(), codes.nibbles.begin() + 6),
              ElementsAre(1, 8, 10, 8, 10, 8));  // to even
  EXPECT_THAT(std::vector(codes.nibbles.begin() + 6, codes.nibbles.end()), Each(8));
}

TEST(QuantizeGroup, TheSearchPutsThePositiveExtremeAtMinusEight) {
  const Int4Codes codes = QuantizeGroup(std::vector<float>{8.0f, -7.0f, 3.0f, 1.0f}, Int4Scales::kSearched);
  EXPECT_EQ(codes.scale, -1.0f);
  EXPECT_THAT(std::vector(codes.nibbles.begin(), codes.nibbles.begin() + 4), ElementsAre(0, 15, 5, 7));
  EXPECT_EQ(ErrorOf({8.0f, -7.0f, 3.0f, 1.0f}, Int4Scales::kSearched), 0.0);
}

TEST(QuantizeGroup, AScaleIsNeverZeroNorInfinite) {
  const float largest = std::numeric_limits<float>::max(), smallest = std::numeric_limits<float>::denorm_min();
  for (const float value : {0.0f, smallest, -smallest, 1e-40f, largest, -largest}) {
    for (const Int4Scales scales : {Int4Scales::kNearest, Int4Scales::kSearched}) {
      const Int4Codes codes = QuantizeGroup(std::vector<float>{value, 0.0f}, scales);
      EXPECT_TRUE(std::isnormal(codes.scale)) << value;
      EXPECT_EQ(codes.scale, DecodeBf16(EncodeBf16(codes.scale)));
      EXPECT_EQ(codes.nibbles[1], 8);
    }
  }
}

TEST(QuantizeGroup, TheSearchIsNeverWorseAndLeavesLessThanThreeQuarters) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  double nearest = 0.0, searched = 0.0;
  for (int group = 0; group < 2000; ++group) {
    std::vector<float> values(group % 32 + 1);
    for (float& value : values) value = normal(random);
    const double of_nearest = ErrorOf(values, Int4Scales::kNearest), of_search = ErrorOf(values, Int4Scales::kSearched);
    ASSERT_LE(of_search, of_nearest * (1.0 + 1e-12));
    nearest += of_nearest;
    searched += of_search;
  }
  EXPECT_LT(searched, 0.75 * nearest);
}

// 34 inputs: five words, of which the last holds two codes, and two groups.
TEST(PlanInt4, WritesTheWordsOfTheFormat) {
  std::vector<float> values(2 * 34, 0.0f);
  for (int k = 0; k < 8; ++k) values[static_cast<size_t>(k)] = static_cast<float>(k);  // codes 0 … 7
  values[8] = -7.0f;
  values[33] = 3.5f;
  values[34 + 32] = -1.75f;
  const auto tensors = PlanInt4("a.weight", RowsFrom({2, 34}, values), Int4Scales::kNearest);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "a.weight_packed");
  EXPECT_EQ(tensors[0].dtype, "I32");
  EXPECT_THAT(tensors[0].shape, ElementsAre(2, 5));
  EXPECT_THAT(Written<uint32_t>(tensors[0]), ElementsAre(0xFEDCBA98, 0x88888881, 0x88888888, 0x88888888, 0x888888F8,  //
                                                         0x88888888, 0x88888888, 0x88888888, 0x88888888, 0x88888881));
  EXPECT_EQ(tensors[1].name, "a.weight_scale");
  EXPECT_EQ(tensors[1].dtype, "BF16");
  EXPECT_THAT(tensors[1].shape, ElementsAre(2, 2));
  EXPECT_THAT(Written<uint16_t>(tensors[1]), ElementsAre(0x3F80, 0x3F00, 0x3F80, 0x3E80));  // 1, 0.5, 1 (zeros), 0.25
  EXPECT_EQ(tensors[2].name, "a.weight_shape");
  EXPECT_EQ(tensors[2].dtype, "I64");
  EXPECT_THAT(Written<int64_t>(tensors[2]), ElementsAre(2, 34));
}

TEST(PlanInt4, ReadsBackAsItWasWritten) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  std::vector<float> values(130 * 75);  // more than a block of rows
  for (float& value : values) value = normal(random);
  const auto tensors = PlanInt4("w.weight", RowsFrom({130, 75}, values), Int4Scales::kSearched);
  const auto words = Written<std::byte>(tensors[0]), scales = Written<std::byte>(tensors[1]);
  const ValueRows rows = RowsOf(
      {.dtype = DType::kInt4, .outputs = 130, .inputs = 75, .bytes = words.data(), .group_scales = scales.data()});
  std::vector<float> read(values.size());
  rows.read(0, read);
  for (size_t row = 0; row < 130; ++row) {
    for (size_t begin = 0; begin < 75; begin += kInt4Group) {
      const size_t at = row * 75 + begin, count = std::min<size_t>(kInt4Group, 75 - begin);
      const Int4Codes codes = QuantizeGroup(std::span(values).subspan(at, count), Int4Scales::kSearched);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(read[at + i], static_cast<float>(codes.nibbles[i] - 8) * codes.scale) << row << " " << begin + i;
      }
    }
  }
}

TEST(BecomesInt4, ExpertsAsPublishedOrEveryProjectionThatMay) {
  const ExpectedTensor expert = {
      .name = "model.layers.1.mlp.experts.3.up_proj.weight", .shape = {64, 64}, .role = TensorRole::kProjection};
  const ExpectedTensor shared = {
      .name = "model.layers.1.mlp.shared_experts.up_proj.weight", .shape = {64, 64}, .role = TensorRole::kProjection};
  const ExpectedTensor kv_up = {
      .name = "model.layers.1.self_attn.kv_b_proj.weight", .shape = {64, 64}, .role = TensorRole::kKeyValueUp};
  EXPECT_TRUE(BecomesInt4(expert, Int4Tensors::kRoutedExperts));
  EXPECT_FALSE(BecomesInt4(shared, Int4Tensors::kRoutedExperts));
  EXPECT_TRUE(BecomesInt4(shared, Int4Tensors::kProjections));
  EXPECT_FALSE(BecomesInt4(kv_up, Int4Tensors::kProjections));
}

}  // namespace
}  // namespace latentd
