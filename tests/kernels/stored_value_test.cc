// Values of stored weights, held against bytes that were written down by hand.
#include "kernels/stored_value.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"

namespace latentd {
namespace {

// Two rows of 34 inputs: five words and two groups each. The word of compressed-tensors' pack_to_int32 for the values
// -8 … -1 is 0x76543210, for 0 … 7 it is 0xFEDCBA98.
class Int4Source {
 public:
  Int4Source() {
    const uint32_t words[2][5] = {{0x76543210, 0xFEDCBA98, 0x88888888, 0x88888888, 0x000000F0},
                                  {0x88888888, 0x88888888, 0x88888888, 0x88888889, 0x00000088}};
    const float scales[2][2] = {{0.5f, -2.0f}, {3.0f, 0x1p-130f}};
    bytes_.resize(1);  // a mapped file promises no alignment
    for (const auto& row : words)
      for (const uint32_t word : row)
        for (int i = 0; i < 4; ++i) bytes_.push_back(static_cast<std::byte>(word >> (8 * i)));
    scales_.resize(1);
    for (const auto& row : scales)
      for (const float scale : row)
        for (int i = 0; i < 2; ++i) scales_.push_back(static_cast<std::byte>(EncodeBf16(scale) >> (8 * i)));
  }

  MatrixSource Source() const {
    return {.dtype = DType::kInt4,
            .outputs = 2,
            .inputs = 34,
            .bytes = bytes_.data() + 1,
            .group_scales = scales_.data() + 1};
  }

 private:
  std::vector<std::byte> bytes_, scales_;
};

TEST(StoredValue, Int4IsANibbleLessEightTimesItsGroupsScale) {
  const Int4Source stored;
  for (int k = 0; k < 16; ++k) EXPECT_EQ(StoredValue(stored.Source(), 0, k), 0.5f * static_cast<float>(k - 8));
  EXPECT_EQ(StoredValue(stored.Source(), 0, 31), 0.0f);
  EXPECT_EQ(StoredValue(stored.Source(), 0, 32), 16.0f);
  EXPECT_EQ(StoredValue(stored.Source(), 0, 33), -14.0f);
  EXPECT_EQ(StoredValue(stored.Source(), 1, 24), 3.0f);
  EXPECT_EQ(StoredValue(stored.Source(), 1, 25), 0.0f);
}

TEST(RowBytes, ARowOfNibblesEndsWithAWholeWord) {
  EXPECT_EQ(RowBytes(DType::kInt4, 32), 16u);
  EXPECT_EQ(RowBytes(DType::kInt4, 33), 20u);
  EXPECT_EQ(RowBytes(DType::kInt4, 40), 20u);
  EXPECT_EQ(RowBytes(DType::kBf16, 33), 66u);
  EXPECT_EQ(RowBytes(DType::kE4M3, 33), 33u);
}

}  // namespace
}  // namespace latentd
