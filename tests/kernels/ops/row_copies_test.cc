// The verbs that only move rows: Embed, GatherRows, CopyLatents.
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/ops/tokens.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

TEST(Embed, ReadsTheRowsAskedFor) {
  std::mt19937 random(30);
  Backend backend = MakeTestBackend(SmallLimits());
  for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
    for (const int width : {1, 33, 200, 1156}) {
      const StoredMatrix stored = StoredMatrix::Random(dtype, 300, width, random);
      const contract::Matrix exact = stored.Contract();
      const auto table = backend.ops->PackTable(stored.Source());
      ASSERT_TRUE(table.ok());
      const BatchInputs inputs = TokensWithIds({0, 299, 7, 7, 128});
      const DeviceRows out(backend, inputs.num_tokens(), width);
      backend.ops->Embed(backend.ops->Upload(inputs, {}), **table, out.tensor());
      std::vector<std::vector<float>> expected;
      for (const int32_t id : inputs.token_ids) {
        expected.emplace_back();
        for (int k = 0; k < width; ++k) expected.back().push_back(exact.Code(id, k) * exact.Scale(id, k));
      }
      EXPECT_TRUE(SameBytes(out.Get(), expected)) << "type " << static_cast<int>(dtype) << ", width " << width;
      EXPECT_TRUE(out.GapsUntouched());
    }
  }
}

TEST(GatherRows, CopiesTheRowsAskedFor) {
  std::mt19937 random(31);
  Backend backend = MakeTestBackend(SmallLimits());
  for (const int width : {1, 33, 128, 1156}) {
    const std::vector<std::vector<float>> rows = RandomRows(10, width, random);
    const DeviceRows x(backend, rows), out(backend, 3, width);
    BatchInputs inputs = TokensWithIds(std::vector<int32_t>(10, 0));
    inputs.logit_tokens = {9, 0, 4};
    backend.ops->GatherRows(backend.ops->Upload(inputs, {}).logit_tokens, x.tensor(), out.tensor());
    EXPECT_TRUE(SameBytes(out.Get(), {rows[9], rows[0], rows[4]})) << width;
    EXPECT_TRUE(out.GapsUntouched());
  }
}

TEST(CopyLatents, CopiesOnlyTheSlotsNamed) {
  constexpr int kBlocks = 3;
  Backend backend = MakeTestBackend(SmallLimits());
  for (const LatentFormat format : backend.ops->latent_formats(ActivationFormat::kF32)) {
    LatentPages pages{nullptr, format, kBlocks, 35, 6};
    std::vector<std::byte> bytes(kBlocks * pages.block_bytes());
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i / 7);
    const DeviceValues<std::byte> memory(backend, bytes);
    pages.bytes = memory.get();
    backend.ops->CopyLatents(pages, 5, 130, 20);
    std::memcpy(&bytes[130 * pages.slot_bytes()], &bytes[5 * pages.slot_bytes()], 20 * pages.slot_bytes());
    EXPECT_EQ(memory.Get(), bytes) << NameOf(format);
  }
}

}  // namespace
}  // namespace latentd
