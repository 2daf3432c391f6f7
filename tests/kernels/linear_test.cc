// Linear on the CPU, bit for bit against the contract.
#include "kernels/cpu/linear.h"

#include <cstdio>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/contract.h"
#include "tests/reference/contract16.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using cpu::Arithmetic;
using cpu::CpuDevice;
using cpu::Orientation;
using cpu::PackedMatrix;
using cpu::ProductRows;

// Products with fp32 weights are summed as under a32 always.
std::vector<Arithmetic> ArithmeticsOf(DType dtype) {
  if (dtype == DType::kF32) return {Arithmetic::kA32};
  return {Arithmetic::kA32, Arithmetic::kA16};
}

constexpr DType kDTypes[] = {DType::kE4M3, DType::kInt4, DType::kBf16, DType::kF32};
constexpr int kRowCounts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 25};

PackedMatrix Pack(CpuDevice& device, ThreadPool& pool, const StoredMatrix& matrix) {
  const MatrixSource source = matrix.Source();
  return *PackedMatrix::Pack(device, pool, source, {0, source.outputs, Orientation::kAsStored});
}

// Rows of x as products read them, and their products by the contract.
class Inputs {
 public:
  Inputs(const Tensor& x, Arithmetic arithmetic) : arithmetic_(arithmetic) {
    for (int r = 0; r < x.rows; ++r) {
      exact_.emplace_back(x.Row(r), x.Row(r) + x.width);
      read_.push_back(arithmetic == Arithmetic::kA16 ? contract::Bf16(x.Row(r), x.width) : exact_.back());
      rows_.push_back(read_.back().data());
    }
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  ProductRows rows() const { return {.arithmetic = arithmetic_, .values = rows_.data()}; }
  std::vector<std::vector<float>> Products(const contract::Matrix& w) const {
    std::vector<std::vector<float>> products;
    for (const std::vector<float>& row : exact_) {
      products.push_back(arithmetic_ == Arithmetic::kA16 ? contract::Linear16(w, row.data())
                                                         : contract::Linear(w, row.data()));
    }
    return products;
  }

 private:
  const Arithmetic arithmetic_;
  std::vector<std::vector<float>> exact_, read_;
  std::vector<const float*> rows_;
};

OwnedTensor Multiply(ThreadPool& pool, const ProductRows& x, int num_rows, const PackedMatrix& w) {
  OwnedTensor out(num_rows, w.outputs);
  cpu::Linear(pool, x, w, out.tensor());
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
      const StoredMatrix stored = StoredMatrix::Random(dtype, shape.outputs, shape.inputs, random);
      const PackedMatrix packed = Pack(device, pool, stored);
      const OwnedTensor x(25, shape.inputs, random);
      for (const Arithmetic arithmetic : ArithmeticsOf(dtype)) {
        SCOPED_TRACE(testing::Message() << "dtype " << static_cast<int>(dtype) << ", " << shape.outputs << " x "
                                        << shape.inputs << ", arithmetic " << static_cast<int>(arithmetic));
        const Inputs inputs(x.tensor(), arithmetic);
        const std::vector<std::vector<float>> want = inputs.Products(stored.Contract());
        ForEachTarget([&] {
          for (const int rows : kRowCounts) ExpectRows(Multiply(pool, inputs.rows(), rows, packed), want);
        });
      }
    }
  }
}

TEST(Linear, AnyNumberOfThreadsGivesTheSameBits) {
  std::mt19937 random(14);
  CpuDevice device;
  for (const DType dtype : kDTypes) {
    const StoredMatrix stored = StoredMatrix::Random(dtype, 300, 200, random);
    const OwnedTensor x(200, 200, random);
    for (const Arithmetic arithmetic : ArithmeticsOf(dtype)) {
      const Inputs inputs(x.tensor(), arithmetic);
      const std::vector<std::vector<float>> want = inputs.Products(stored.Contract());
      for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        const PackedMatrix packed = Pack(device, pool, stored);
        for (const int rows : {3, 50, 200}) ExpectRows(Multiply(pool, inputs.rows(), rows, packed), want);
      }
    }
  }
}

// FP8 codes of x: a code's value is summed, its scale joins the weight's.
TEST(Linear, WithCodesEqualsTheContractBitForBit) {
  std::mt19937 random(15);
  CpuDevice device;
  ThreadPool pool(2);
  for (const Shape& shape : kShapes) {
    const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, shape.outputs, shape.inputs, random);
    const PackedMatrix packed = Pack(device, pool, stored);
    std::vector<contract::CodedRow> coded;
    std::vector<std::vector<float>> values, want;
    std::vector<const float*> value_rows, scale_rows;
    for (int r = 0; r < 25; ++r) {
      const auto row = RandomValues(static_cast<size_t>(shape.inputs), random);
      coded.push_back(contract::CodesOf(row, ScaleFormat::kF32));
      want.push_back(contract::LinearCoded(stored.Contract(), coded.back()));
      values.emplace_back();
      for (const uint8_t code : coded.back().codes) values.back().push_back(DecodeE4M3(code));
    }
    for (size_t r = 0; r < coded.size(); ++r) {
      value_rows.push_back(values[r].data());
      scale_rows.push_back(coded[r].scales.data());
    }
    const ProductRows x{Arithmetic::kA16, value_rows.data(), scale_rows.data()};
    ForEachTarget([&] {
      for (const int rows : kRowCounts) ExpectRows(Multiply(pool, x, rows, packed), want);
    });
  }
}

// Sums far below 2^-6 must not round as subnormals under a32; under a16 what is subnormal reads and writes as zero.
TEST(Linear, TreatsSmallNumbersAsItsArithmeticSays) {
  std::mt19937 random(11);
  CpuDevice device;
  ThreadPool pool(1);
  for (const DType dtype : kDTypes) {
    const StoredMatrix stored = StoredMatrix::Random(dtype, 64, 256, random);
    const PackedMatrix packed = Pack(device, pool, stored);
    for (const float scale : {1e-24f, 0x1p-120f, 0x1p-126f, 0x1p-130f}) {
      OwnedTensor x(7, 256, random);
      for (int r = 0; r < 7; ++r)
        for (int k = 0; k < 256; ++k) x.tensor().Row(r)[k] *= scale;
      for (const Arithmetic arithmetic : ArithmeticsOf(dtype)) {
        SCOPED_TRACE(testing::Message() << "dtype " << static_cast<int>(dtype) << ", " << scale << ", arithmetic "
                                        << static_cast<int>(arithmetic));
        const Inputs inputs(x.tensor(), arithmetic);
        const std::vector<std::vector<float>> want = inputs.Products(stored.Contract());
        ForEachTarget([&] { ExpectRows(Multiply(pool, inputs.rows(), 7, packed), want); });
      }
    }
  }
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
  for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
    for (const AttentionShape& shape : shapes) {
      const int head_rows = shape.nope_width + shape.value_width;
      const StoredMatrix stored = StoredMatrix::Random(dtype, shape.num_heads * head_rows, shape.latent_width, random);
      const cpu::KeyValueUp packed = *cpu::KeyValueUp::Pack(device, pool, stored.Source(), shape);
      const OwnedTensor query(13, shape.nope_width, random), latent(13, shape.latent_width, random);
      for (const Arithmetic arithmetic : ArithmeticsOf(dtype)) {
        const Inputs queries(query.tensor(), arithmetic), latents(latent.tensor(), arithmetic);
        for (int head = 0; head < shape.num_heads; ++head) {
          SCOPED_TRACE(head);
          const int first = head * head_rows;
          const auto absorbed = queries.Products(stored.ContractColumns(first, shape.nope_width));
          const auto expanded = latents.Products(stored.ContractRows(first + shape.nope_width, shape.value_width));
          ForEachTarget([&] {
            for (const int rows : {1, 5, 13}) {
              ExpectRows(Multiply(pool, queries.rows(), rows, packed.Key(head)), absorbed);
              ExpectRows(Multiply(pool, latents.rows(), rows, packed.Value(head)), expanded);
            }
          });
        }
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
