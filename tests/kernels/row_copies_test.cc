// The verbs that only move rows: Embed, GatherRows, CopyLatents.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

TEST(Embed, ReadsTheRowsAskedFor) {
  std::mt19937 random(30);
  for (const int threads : {1, 2, 5}) {
    const absl::StatusOr<Backend> backend = MakeCpuBackend(threads);
    ASSERT_TRUE(backend.ok());
    for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
      const StoredMatrix stored = StoredMatrix::Random(dtype, 300, 200, random);
      const contract::Matrix exact = stored.Contract();
      const auto table = backend->ops->PackTable(stored.Source());
      ASSERT_TRUE(table.ok());
      const std::vector<int32_t> ids = {0, 299, 7, 7, 128};
      const OwnedTensor out(static_cast<int>(ids.size()), 200);
      BatchInputs inputs;
      inputs.token_ids = ids;
      backend->ops->Embed(backend->ops->Upload(inputs, {}), **table, out.tensor());
      for (int i = 0; i < out.tensor().rows; ++i)
        for (int k = 0; k < 200; ++k) {
          const int row = ids[static_cast<size_t>(i)];
          EXPECT_EQ(out.tensor().Row(i)[k], exact.Code(row, k) * exact.Scale(row, k));
        }
      EXPECT_TRUE(out.GapsUntouched());
    }
  }
}

TEST(GatherRows, CopiesTheRowsAskedFor) {
  std::mt19937 random(31);
  const absl::StatusOr<Backend> backend = MakeCpuBackend(2);
  const OwnedTensor x(10, 33, random), out(3, 33);
  const std::vector<int32_t> rows = {9, 0, 4};
  BatchInputs inputs;
  inputs.logit_tokens = rows;
  backend->ops->GatherRows(backend->ops->Upload(inputs, {}), x.tensor(), out.tensor());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(SameBytes(out.Row(i), x.Row(rows[static_cast<size_t>(i)])));
  EXPECT_TRUE(out.GapsUntouched());
}

TEST(CopyLatents, CopiesOnlyTheSlotsNamed) {
  constexpr int kStride = 48, kBlocks = 3;
  const absl::StatusOr<Backend> backend = MakeCpuBackend(1);
  std::vector<float> values(static_cast<size_t>(kBlocks * kBlockSlots * kStride));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::vector<float> want = values;
  const LatentPages pages{values.data(), DType::kF32, kBlocks, 32, 8, kStride};
  std::copy_n(want.begin() + 5 * kStride, 20 * kStride, want.begin() + 130 * kStride);
  backend->ops->CopyLatents(pages, 5, 130, 20);
  EXPECT_TRUE(SameBytes(values, want));
}

}  // namespace
}  // namespace latentd
