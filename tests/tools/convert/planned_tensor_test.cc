// The bytes of planned tensors at the edges of their formats.
#include "tools/convert/planned_tensor.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/tools/convert/written.h"

namespace latentd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(PlanQuantized, EdgeBlocksHaveScalesOfTheirOwn) {
  std::vector<float> values(130 * 129, 1.0f);
  values[128] = 2.0f;               // the block of the last column
  values[129 * 129] = 4.0f;         // of the last two rows
  values[129 * 129 + 128] = -8.0f;  // of the corner
  const auto tensors = PlanQuantized("w", RowsFrom({130, 129}, values), ScaleFormat::kF32);
  EXPECT_EQ(tensors[1].name, "w_scale_inv");
  EXPECT_THAT(tensors[1].shape, ElementsAre(2, 2));
  EXPECT_THAT(Written<float>(tensors[1]), ElementsAre(1 / 448.0f, 2 / 448.0f, 4 / 448.0f, 8 / 448.0f));
  EXPECT_EQ(Written<uint8_t>(tensors[0])[129 * 129 + 128], EncodeE4M3(-448.0f));
}

TEST(PlanQuantized, ZeroesHaveAPositiveScale) {
  const auto tensors = PlanQuantized("w", RowsFrom({2, 3}, std::vector<float>(6)), ScaleFormat::kUe8m0);
  EXPECT_THAT(Written<float>(tensors[1]), ElementsAre(1.0f));
  EXPECT_THAT(Written<uint8_t>(tensors[0]), Each(0));
}

TEST(PlanQuantized, PowersOfTwoAreTheNextOneUp) {
  const auto scale_of = [](float largest) {
    return Written<float>(PlanQuantized("w", RowsFrom({1, 1}, {largest}), ScaleFormat::kUe8m0)[1])[0];
  };
  EXPECT_EQ(scale_of(448.0f), 1.0f);
  EXPECT_EQ(scale_of(std::nextafter(448.0f, 449.0f)), 2.0f);
  EXPECT_EQ(scale_of(300.0f), 1.0f);
  EXPECT_EQ(scale_of(224.0f), 0.5f);
}

TEST(PlanQuantized, TheSmallestAndLargestValuesKeepAFiniteScale) {
  for (const float value : {std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::max()}) {
    for (const ScaleFormat format : {ScaleFormat::kF32, ScaleFormat::kUe8m0}) {
      const auto scales = Written<float>(PlanQuantized("w", RowsFrom({1, 1}, {value}), format)[1]);
      EXPECT_TRUE(std::isnormal(scales[0]) && scales[0] > 0.0f) << value;
    }
  }
}

TEST(PlanValues, Bf16RoundsToNearestEven) {
  const auto tensor = PlanValues("b", DType::kBf16, RowsFrom({3}, {1.0f, 1.0f + 0x1p-8f, 1.0f + 0x1.8p-7f}));
  EXPECT_EQ(tensor.dtype, "BF16");
  EXPECT_THAT(Written<uint16_t>(tensor), ElementsAre(0x3F80, 0x3F80, 0x3F82));
}

TEST(PlanCopy, HandsOverEveryByteInPieces) {
  std::vector<std::byte> bytes(9'000'001);
  bytes.back() = std::byte{7};
  const auto tensor = PlanCopy("c", "U8", {9'000'001}, bytes);
  EXPECT_EQ(Written<std::byte>(tensor), bytes);
}

}  // namespace
}  // namespace latentd
