// Linear on the CPU, bit for bit against the contract.
#include "kernels/cpu/linear.h"

#include <cstdio>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/contract.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using cpu::CpuDevice;
using cpu::Orientation;
using cpu::PackedMatrix;

constexpr DType kDTypes[] = {DType::kE4M3, DType::kBf16, DType::kF32};
constexpr int kRowCounts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 25};

PackedMatrix Pack(CpuDevice& device, ThreadPool& pool, const StoredMatrix& matrix) {
  const MatrixSource source = matrix.Source();
  return *PackedMatrix::Pack(device, pool, source, {0, source.outputs, Orientation::kAsStored});
}

OwnedTensor Multiply(ThreadPool& pool, const Tensor& x, const PackedMatrix& w) {
  OwnedTensor out(x.rows, w.outputs);
  std::vector<const float*> scratch;
  cpu::Linear(pool, x, w, out.tensor(), scratch);
  EXPECT_TRUE(out.GapsUntouched());
  return out;
}

struct Shape {
  int outputs;
  int inputs;
};
// Whole panels and blocks, edge blocks, less than a panel, more than the decoded strip, one value.
constexpr Shape kShapes[] = {{128, 256}, {200, 129}, {576, 40}, {1, 1}, {65, 384}, {17, 127}, {300, 200}};

TEST(Targets, IncludeThePortableOne) {
  std::vector<int64_t> targets;
  ForEachTarget([&] { targets.push_back(hwy::SupportedTargets() & HWY_TARGETS); });
  EXPECT_EQ(targets.back(), HWY_STATIC_TARGET);
  if (targets.size() < 2) {
    std::puts("SKIPPED: only one instruction set here, so nothing to compare it with");
    GTEST_SKIP();
  }
}

std::vector<std::vector<float>> ExactRows(const contract::Matrix& w, const Tensor& x) {
  std::vector<std::vector<float>> rows;
  for (int r = 0; r < x.rows; ++r) rows.push_back(contract::Linear(w, x.Row(r)));
  return rows;
}

void ExpectRows(const OwnedTensor& got, const std::vector<std::vector<float>>& want) {
  for (int r = 0; r < got.tensor().rows; ++r)
    ASSERT_TRUE(SameBytes(got.Row(r), want[static_cast<size_t>(r)])) << "row " << r << " of " << got.tensor().rows;
}

TEST(Linear, EqualsTheContractBitForBit) {
  std::mt19937 random(7);
  CpuDevice device;
  ThreadPool pool(2);
  for (const DType dtype : kDTypes) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(testing::Message() << "dtype " << static_cast<int>(dtype) << ", " << shape.outputs << " x "
                                      << shape.inputs);
      const StoredMatrix stored = StoredMatrix::Random(dtype, shape.outputs, shape.inputs, random);
      const PackedMatrix packed = Pack(device, pool, stored);
      const OwnedTensor x(25, shape.inputs, random);
      const std::vector<std::vector<float>> want = ExactRows(stored.Contract(), x.tensor());
      ForEachTarget([&] {
        for (const int rows : kRowCounts) ExpectRows(Multiply(pool, x.tensor().FirstRows(rows), packed), want);
      });
    }
  }
}

TEST(Linear, AnyNumberOfThreadsGivesTheSameBits) {
  std::mt19937 random(14);
  CpuDevice device;
  for (const DType dtype : kDTypes) {
    const StoredMatrix stored = StoredMatrix::Random(dtype, 300, 200, random);
    const OwnedTensor x(200, 200, random);
    const std::vector<std::vector<float>> want = ExactRows(stored.Contract(), x.tensor());
    for (const int threads : {1, 2, 5}) {
      ThreadPool pool(threads);
      const PackedMatrix packed = Pack(device, pool, stored);
      for (const int rows : {3, 50, 200}) ExpectRows(Multiply(pool, x.tensor().FirstRows(rows), packed), want);
    }
  }
}

TEST(Linear, KeepsSmallSumsExact) {  // sums far below 2^-6 must not round as subnormals
  std::mt19937 random(11);
  CpuDevice device;
  ThreadPool pool(1);
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, 64, 256, random);
  OwnedTensor x(7, 256, random);
  for (int r = 0; r < 7; ++r)
    for (int k = 0; k < 256; ++k) x.tensor().Row(r)[k] *= 1e-24f;
  const OwnedTensor got = Multiply(pool, x.tensor(), Pack(device, pool, stored));
  for (int r = 0; r < 7; ++r)
    EXPECT_TRUE(SameBytes(got.Row(r), contract::Linear(stored.Contract(), x.tensor().Row(r))));
}

// kv_b's heads start at any row, so their slices begin and end inside scale blocks and panels.
TEST(KeyValueUp, SlicesFollowTheScaleBlocksOfTheWholeMatrix) {
  std::mt19937 random(12);
  CpuDevice device;
  ThreadPool pool(2);
  const AttentionShape shapes[] = {
      {.num_heads = 5, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 64},
      {.num_heads = 3, .nope_width = 192, .rope_width = 64, .value_width = 256, .latent_width = 200},
      {.num_heads = 2, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512},
      {.num_heads = 7, .nope_width = 40, .rope_width = 8, .value_width = 72, .latent_width = 130}};
  for (const DType dtype : kDTypes) {
    for (const AttentionShape& shape : shapes) {
      const int head_rows = shape.nope_width + shape.value_width;
      const StoredMatrix stored = StoredMatrix::Random(dtype, shape.num_heads * head_rows, shape.latent_width, random);
      const cpu::KeyValueUp packed = *cpu::KeyValueUp::Pack(device, pool, stored.Source(), shape);
      const OwnedTensor query(13, shape.nope_width, random), latent(13, shape.latent_width, random);
      for (int head = 0; head < shape.num_heads; ++head) {
        SCOPED_TRACE(head);
        const int first = head * head_rows;
        const auto absorbed = ExactRows(stored.ContractColumns(first, shape.nope_width), query.tensor());
        const auto expanded =
            ExactRows(stored.ContractRows(first + shape.nope_width, shape.value_width), latent.tensor());
        ForEachTarget([&] {
          for (const int rows : {1, 5, 13}) {
            ExpectRows(Multiply(pool, query.tensor().FirstRows(rows), packed.Key(head)), absorbed);
            ExpectRows(Multiply(pool, latent.tensor().FirstRows(rows), packed.Value(head)), expanded);
          }
        });
      }
    }
  }
}

TEST(PackedMatrix, NeedsMemory) {
  std::mt19937 random(13);
  CpuDevice device(1000);
  ThreadPool pool(1);
  const StoredMatrix stored = StoredMatrix::Random(DType::kBf16, 64, 64, random);
  EXPECT_EQ(PackedMatrix::Pack(device, pool, stored.Source(), {0, 64, Orientation::kAsStored}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace latentd
