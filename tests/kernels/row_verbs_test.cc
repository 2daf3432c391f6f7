// Norms, SwiGLU and rotation on the CPU: the bits depend on the row alone. tests/kernels/ops says what they compute.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

Backend MakeBackend(int num_threads) { return MakeCpuBackend(num_threads).value(); }

// Cosines and sines of some angle for each position and pair.
OwnedTensor RandomAngles(int positions, int rope_width, std::mt19937& random) {
  OwnedTensor angles(positions, rope_width);
  std::uniform_real_distribution<double> uniform(-3.0, 3.0);
  for (int p = 0; p < positions; ++p) {
    for (int i = 0; i < rope_width / 2; ++i) {
      const double angle = uniform(random);
      angles.tensor().Row(p)[i] = static_cast<float>(std::cos(angle));
      angles.tensor().Row(p)[rope_width / 2 + i] = static_cast<float>(std::sin(angle));
    }
  }
  return angles;
}

BatchInputs TokensAt(std::vector<int32_t> positions) {
  BatchInputs batch;
  batch.token_ids.assign(positions.size(), 0);
  batch.positions = std::move(positions);
  return batch;
}

// Every verb of this file over the same rows; the bytes of all results.
std::vector<float> RunAll(Backend& backend, int first, int count, int width) {
  std::mt19937 random(33);
  const OwnedTensor x(9, width, random), delta(9, width, random), weight(1, width, random), q(9, 2 * width, random);
  const OwnedTensor angles = RandomAngles(20, width / 2 * 2, random);
  const AttentionShape shape = {.num_heads = 2, .nope_width = width % 2, .rope_width = width / 2 * 2};
  std::vector<int32_t> positions(9);
  std::iota(positions.begin(), positions.end(), 3);
  const BatchInputs batch = TokensAt({positions.begin() + first, positions.begin() + first + count});
  const auto part = [&](const OwnedTensor& t) {
    return Tensor{t.tensor().Row(first), count, t.tensor().width, t.tensor().stride};
  };
  OwnedTensor norm(count, width), added(count, width), product(count, width), both(count, 2 * width);
  const auto half = [&](int column) {
    return Tensor{both.tensor().values + column, count, width, both.tensor().stride};
  };
  backend.ops->RmsNorm(part(x), weight.tensor().values, 1e-6f, norm.tensor());
  backend.ops->RmsNorm(part(delta), weight.tensor().values, 1e-6f, half(width));
  backend.ops->RmsNorm(part(x), weight.tensor().values, 1e-6f, half(0));
  backend.ops->SwiGlu(part(x), part(delta), product.tensor());
  backend.ops->AddRmsNorm(part(x), part(delta), weight.tensor().values, 1e-6f, added.tensor());
  backend.ops->RotateQueries(ViewOf(batch), {angles.tensor(), RopePairs::kAdjacent}, shape, part(q));
  std::vector<float> all;
  for (int row = 0; row < count; ++row) {
    const std::vector<float> turned = q.Row(first + row);
    for (const auto& values : {norm.Row(row), added.Row(row), product.Row(row), turned, both.Row(row)}) {
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

TEST(RowVerbs, BitsDependOnNeitherCompanyNorThreadsNorTarget) {
  for (const int width : {5, 16, 77, 300}) {
    Backend one = MakeBackend(1);
    const std::vector<float> expected = RunAll(one, 0, 9, width);
    const std::vector<float> alone = RunAll(one, 4, 1, width);
    EXPECT_TRUE(SameBytes(std::span(expected).subspan(4 * alone.size(), alone.size()), alone)) << width;
    for (const int threads : {1, 2, 5}) {
      Backend backend = MakeBackend(threads);
      ForEachTarget([&] { EXPECT_TRUE(SameBytes(RunAll(backend, 0, 9, width), expected)) << threads << " threads"; });
    }
  }
}

// Rows that share a block may compute its last position again in one step: the slot holds what each of them stores.
TEST(RowVerbs, TokensOfOneSlotStoreItAsOneDoes) {
  constexpr int kTokens = 64, kRounds = 100, kLatent = 16, kRope = 4096;
  std::mt19937 random(34);
  const OwnedTensor weight(1, kLatent, random), row(1, kLatent + kRope, random),
      angles = RandomAngles(4, kRope, random);
  OwnedTensor kv(kTokens, kLatent + kRope);
  for (int i = 0; i < kTokens; ++i) std::copy_n(row.tensor().Row(0), kLatent + kRope, kv.tensor().Row(i));
  BatchInputs batch = TokensAt(std::vector<int32_t>(kTokens, 3));
  batch.slots.assign(kTokens, 5);
  Backend backend = MakeBackend(2);
  LatentPages pages{.format = LatentFormat::kF32, .num_blocks = 1, .latent_width = kLatent, .rope_width = kRope};
  std::vector<float> memory(pages.block_bytes() / sizeof(float));
  pages.bytes = reinterpret_cast<std::byte*>(memory.data());
  const RopeTable rope{angles.tensor(), RopePairs::kAdjacent};
  const auto stored = [&](int num_tokens) {
    Tensor some = kv.tensor();
    some.rows = num_tokens;
    BatchInputs inputs = batch;
    for (auto* list : {&inputs.token_ids, &inputs.positions, &inputs.slots}) {
      list->resize(static_cast<size_t>(num_tokens));
    }
    backend.ops->AppendLatent(some, weight.tensor().values, 1e-6f, ViewOf(inputs), rope, pages);
    return memory;
  };
  const std::vector<float> expected = stored(1);
  for (int round = 0; round < kRounds; ++round) ASSERT_TRUE(SameBytes(stored(kTokens), expected)) << round;
}

}  // namespace
}  // namespace latentd
