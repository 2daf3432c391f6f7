// Norms, SwiGLU, rotation and storing latents, against the paper in double and as bytes.
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/attention.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr int kWidths[] = {1, 7, 8, 15, 16, 17, 33, 128, 200, 513, 2048};

Backend MakeBackend(int num_threads) { return MakeCpuBackend(num_threads).value(); }

std::vector<float> AllRows(const OwnedTensor& x) {
  std::vector<float> all;
  for (int row = 0; row < x.tensor().rows; ++row) {
    for (const float v : x.Row(row)) all.push_back(v);
  }
  return all;
}

OwnedTensor Copy(const OwnedTensor& x) {
  OwnedTensor copy(x.tensor().rows, x.tensor().width);
  for (int row = 0; row < x.tensor().rows; ++row) {
    std::copy_n(x.tensor().Row(row), x.tensor().width, copy.tensor().Row(row));
  }
  return copy;
}

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

class RowVerbs : public testing::Test {
 protected:
  std::mt19937 random_{20};  // fixed: a failure repeats
};

TEST_F(RowVerbs, RmsNormIsThePapers) {
  Backend backend = MakeBackend(2);
  for (const int width : kWidths) {
    for (const float size : {1e-8f, 1.0f, 1e4f}) {
      const OwnedTensor x(5, width, random_), weight(1, width, random_);
      OwnedTensor out(5, width);
      for (int row = 0; row < 5; ++row) {
        for (int i = 0; i < width; ++i) x.tensor().Row(row)[i] *= size;
      }
      backend.ops->RmsNorm(x.tensor(), weight.tensor().values, 1e-6f, out.tensor());
      for (int row = 0; row < 5; ++row) {
        const reference::Vector expected = reference::RmsNorm(ToDouble(x.Row(row)), weight.Row(0), double{1e-6f});
        EXPECT_LT(RelativeError(out.Row(row), expected), 1e-6) << "width " << width << ", size " << size;
      }
      EXPECT_TRUE(out.GapsUntouched());
    }
  }
}

TEST_F(RowVerbs, AddRmsNormAddsThenNorms) {
  Backend backend = MakeBackend(2);
  for (const int width : kWidths) {
    const OwnedTensor x(4, width, random_), delta(4, width, random_), weight(1, width, random_);
    OwnedTensor sum(4, width), expected(4, width), out(4, width);
    for (int row = 0; row < 4; ++row) {
      for (int i = 0; i < width; ++i) sum.tensor().Row(row)[i] = x.tensor().Row(row)[i] + delta.tensor().Row(row)[i];
    }
    backend.ops->RmsNorm(sum.tensor(), weight.tensor().values, 1e-6f, expected.tensor());
    backend.ops->AddRmsNorm(x.tensor(), delta.tensor(), weight.tensor().values, 1e-6f, out.tensor());
    EXPECT_TRUE(SameBytes(AllRows(x), AllRows(sum))) << width;
    EXPECT_TRUE(SameBytes(AllRows(out), AllRows(expected))) << width;
  }
}

TEST_F(RowVerbs, NormOfZerosIsZero) {
  Backend backend = MakeBackend(1);
  std::vector<float> x(40, 0.0f), weight(40, 3.0f);
  const Tensor tensor = {x.data(), 1, 40, 40};
  backend.ops->RmsNorm(tensor, weight.data(), 1e-6f, tensor);
  EXPECT_EQ(x, std::vector<float>(40, 0.0f));
}

TEST_F(RowVerbs, SwiGluIsThePapers) {
  Backend backend = MakeBackend(2);
  for (const int width : kWidths) {
    const OwnedTensor gate(3, width, random_), up(3, width, random_);
    for (int i = 0; i < width; ++i) gate.tensor().Row(1)[i] *= 30.0f;
    OwnedTensor out(3, width);
    backend.ops->SwiGlu(gate.tensor(), up.tensor(), out.tensor());
    for (int row = 0; row < 3; ++row) {
      reference::Vector expected;
      for (int i = 0; i < width; ++i) {
        expected.push_back(reference::Silu(gate.tensor().Row(row)[i]) * up.tensor().Row(row)[i]);
      }
      EXPECT_LT(RelativeError(out.Row(row), expected), 1e-6) << "width " << width;
    }
    EXPECT_TRUE(out.GapsUntouched());
  }
}

BatchInputs TokensAt(std::vector<int32_t> positions, std::vector<int32_t> slots) {
  BatchInputs batch;
  batch.token_ids.assign(positions.size(), 0);
  batch.positions = std::move(positions);
  batch.slots = std::move(slots);
  return batch;
}

TEST_F(RowVerbs, RotateQueriesTurnsTheLastPartOfEachHead) {
  Backend backend = MakeBackend(2);
  const BatchInputs batch = TokensAt({5, 0, 9, 9}, {});
  for (const RopePairs pairs : {RopePairs::kAdjacent, RopePairs::kHalfSplit}) {
    for (const int rope_width : {2, 6, 16, 64}) {
      const AttentionShape shape = {.num_heads = 3, .nope_width = 5, .rope_width = rope_width};
      const OwnedTensor angles = RandomAngles(10, rope_width, random_);
      const OwnedTensor before(4, 3 * shape.query_width(), random_), q = Copy(before);
      backend.ops->RotateQueries(ViewOf(batch), {angles.tensor(), pairs}, shape, q.tensor());
      for (int token = 0; token < 4; ++token) {
        reference::Vector expected;
        const reference::Vector old = ToDouble(before.Row(token));
        for (int head = 0; head < 3; ++head) {
          const auto rope = old.begin() + head * shape.query_width() + 5;
          expected.insert(expected.end(), rope - 5, rope);
          const auto turned = reference::Rotate({rope, rope + rope_width},
                                                angles.Row(batch.positions[static_cast<size_t>(token)]), pairs);
          expected.insert(expected.end(), turned.begin(), turned.end());
        }
        EXPECT_LT(RelativeError(q.Row(token), expected), 2e-7);
      }
    }
  }
}

// Spec 3.4: width 4, base 1e4, position 3.
TEST_F(RowVerbs, RotationMatchesThePublishedExample) {
  Backend backend = MakeBackend(1);
  std::vector<float> angles = {static_cast<float>(std::cos(3.0)), static_cast<float>(std::cos(0.03)),
                               static_cast<float>(std::sin(3.0)), static_cast<float>(std::sin(0.03))};
  const AttentionShape shape = {.num_heads = 1, .nope_width = 0, .rope_width = 4};
  const auto rotated = [&](RopePairs pairs) {
    std::vector<float> x = {1, 2, 3, 4};
    const BatchInputs batch = TokensAt({0}, {});
    backend.ops->RotateQueries(ViewOf(batch), {{angles.data(), 1, 4, 4}, pairs}, shape, {x.data(), 1, 4, 4});
    return x;
  };
  const double adjacent[] = {-1.272233, -1.838865, 2.878668, 4.088187};
  const double half_split[] = {-1.413353, 1.879118, -2.828857, 4.058191};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rotated(RopePairs::kAdjacent)[i], adjacent[i], 1e-6);
    EXPECT_NEAR(rotated(RopePairs::kHalfSplit)[i], half_split[i], 1e-6);
  }
}

TEST_F(RowVerbs, AppendLatentNormsRotatesAndPads) {
  Backend backend = MakeBackend(2);
  constexpr int kLatent = 21, kRope = 6, kStride = 32;
  std::vector<float> memory(3 * kBlockSlots * kStride, 99.0f);
  const LatentPages pages = {memory.data(), DType::kF32, 3, kLatent, kRope, kStride};
  const BatchInputs batch = TokensAt({4, 7, 1}, {130, 0, 64});
  const OwnedTensor angles = RandomAngles(8, kRope, random_), weight(1, kLatent, random_);
  const OwnedTensor kv(3, kLatent + kRope, random_);
  backend.ops->AppendLatent(kv.tensor(), weight.tensor().values, 1e-6f, ViewOf(batch),
                            {angles.tensor(), RopePairs::kAdjacent}, pages);
  for (size_t t = 0; t < 3; ++t) {
    const std::vector<float> row = kv.Row(static_cast<int>(t));
    reference::Vector expected =
        reference::RmsNorm(ToDouble({row.begin(), row.begin() + kLatent}), weight.Row(0), double{1e-6f});
    const auto key = reference::Rotate(ToDouble({row.begin() + kLatent, row.end()}), angles.Row(batch.positions[t]),
                                       RopePairs::kAdjacent);
    expected.insert(expected.end(), key.begin(), key.end());
    const float* slot = pages.Slot<float>(batch.slots[t]);
    EXPECT_LT(RelativeError({slot, slot + kLatent + kRope}, expected), 1e-6);
    for (int i = kLatent + kRope; i < kStride; ++i) EXPECT_EQ(slot[i], 0.0f);
  }
  EXPECT_EQ(std::count(memory.begin(), memory.end(), 99.0f), (3 * kBlockSlots - 3) * kStride) << "other slots";
}

// Every verb of this file over the same rows; the bytes of all results.
std::vector<float> RunAll(Backend& backend, int first, int count, int width) {
  std::mt19937 random(33);
  const OwnedTensor x(9, width, random), delta(9, width, random), weight(1, width, random), q(9, 2 * width, random);
  const OwnedTensor angles = RandomAngles(20, width / 2 * 2, random);
  const AttentionShape shape = {.num_heads = 2, .nope_width = width % 2, .rope_width = width / 2 * 2};
  std::vector<int32_t> positions(9);
  std::iota(positions.begin(), positions.end(), 3);
  const BatchInputs batch = TokensAt({positions.begin() + first, positions.begin() + first + count}, {});
  const auto part = [&](const OwnedTensor& t) {
    return Tensor{t.tensor().Row(first), count, t.tensor().width, t.tensor().stride};
  };
  OwnedTensor norm(count, width), added(count, width), product(count, width);
  backend.ops->RmsNorm(part(x), weight.tensor().values, 1e-6f, norm.tensor());
  backend.ops->SwiGlu(part(x), part(delta), product.tensor());
  backend.ops->AddRmsNorm(part(x), part(delta), weight.tensor().values, 1e-6f, added.tensor());
  backend.ops->RotateQueries(ViewOf(batch), {angles.tensor(), RopePairs::kAdjacent}, shape, part(q));
  std::vector<float> all;
  for (int row = 0; row < count; ++row) {
    const std::vector<float> turned = q.Row(first + row);
    for (const auto& values : {norm.Row(row), added.Row(row), product.Row(row), turned}) {
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

TEST_F(RowVerbs, BitsDependOnNeitherCompanyNorThreadsNorTarget) {
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

}  // namespace
}  // namespace latentd
