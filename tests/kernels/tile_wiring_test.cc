// Ops' Linear on tiles and on vectors, bit for bit against the contract: rows of any number, in threads' shares.
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"
#include "tests/kernels/emulated_product.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/contract16.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr int kInputs = 300, kMostRows = 200;

class Layer {
 public:
  Layer(DType dtype, ActivationFormat activations, std::mt19937& random)
      : activations_(activations),
        stored_(StoredMatrix::Random(dtype, 150, kInputs, random)),
        x_(kMostRows, kInputs, random) {
    packed_ = *ops_.PackLinear(stored_.Source());
    for (int r = 0; r < kMostRows; ++r) {
      coded_.push_back(contract::CodesOf(x_.Row(r), ScaleFormat::kF32));
      codes_.insert(codes_.end(), coded_.back().codes.begin(), coded_.back().codes.end());
      scales_.insert(scales_.end(), coded_.back().scales.begin(), coded_.back().scales.end());
    }
  }

  // With the tiles that are in use now.
  void Reserve() {
    StepLimits limits = SmallLimits();
    limits.max_tokens = kMostRows;
    limits.activations = activations_;
    EXPECT_TRUE(ops_.Reserve(limits).ok());
  }

  // The first rows of x, as values or as codes, too.
  std::vector<std::vector<float>> Multiply(const Activation& x) {
    OwnedTensor out(x.values.rows, stored_.Source().outputs);
    ops_.Linear(x, *packed_, out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    std::vector<std::vector<float>> rows;
    for (int r = 0; r < x.values.rows; ++r) rows.push_back(out.Row(r));
    return rows;
  }
  Activation Values(int num_rows) const { return x_.tensor().FirstRows(num_rows); }
  Activation Codes(int num_rows) {
    Activation coded = Values(num_rows);
    coded.codes = codes_.data();
    coded.scales = scales_.data();
    return coded;
  }
  std::vector<float> Exact16(int row) const { return contract::Linear16(stored_.Contract(), x_.Row(row).data()); }
  std::vector<float> ExactCoded(int row) const {
    return contract::LinearCoded(stored_.Contract(), coded_[static_cast<size_t>(row)]);
  }

 private:
  ActivationFormat activations_;
  StoredMatrix stored_;
  OwnedTensor x_;
  std::vector<contract::CodedRow> coded_;
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
  cpu::CpuDevice device_;
  cpu::CpuOps ops_{device_, 3};
  std::unique_ptr<const Matrix> packed_;
};

constexpr int kRowCounts[] = {0, 1, 15, 17, 49, kMostRows};

// On each instruction set without tiles, on the machine's tiles where it has some, and on tiles anywhere.
template <class Body>
void OnAnything(Layer& layer, const Body& body) {
  const auto run = [&] {
    layer.Reserve();
    body();
  };
  ForEachTarget(run);
  const OnTiles tiles;
  run();
}

TEST(TileWiring, LinearEqualsTheContractBitForBit) {
  std::mt19937 random(41);
  for (const DType dtype : {DType::kE4M3, DType::kBf16}) {
    Layer layer(dtype, ActivationFormat::kBf16, random);
    std::vector<std::vector<float>> want;
    for (int r = 0; r < kMostRows; ++r) want.push_back(layer.Exact16(r));
    OnAnything(layer, [&] {
      for (const int rows : kRowCounts)
        EXPECT_TRUE(SameBytes(layer.Multiply(layer.Values(rows)), {want.begin(), want.begin() + rows}));
    });
  }
}

// No weight for tiles: a machine that has them multiplies with it on vectors.
TEST(TileWiring, Int4EqualsTheContractBitForBit) {
  std::mt19937 random(43);
  Layer layer(DType::kInt4, ActivationFormat::kBf16, random);
  std::vector<std::vector<float>> want;
  for (int r = 0; r < kMostRows; ++r) want.push_back(layer.Exact16(r));
  ForEachTarget([&] {
    layer.Reserve();
    for (const int rows : kRowCounts)
      EXPECT_TRUE(SameBytes(layer.Multiply(layer.Values(rows)), {want.begin(), want.begin() + rows}));
  });
}

TEST(TileWiring, LinearWithCodesEqualsTheContractBitForBit) {
  std::mt19937 random(42);
  Layer layer(DType::kE4M3, ActivationFormat::kE4M3, random);
  std::vector<std::vector<float>> want;
  for (int r = 0; r < kMostRows; ++r) want.push_back(layer.ExactCoded(r));
  OnAnything(layer, [&] {
    for (const int rows : kRowCounts)
      EXPECT_TRUE(SameBytes(layer.Multiply(layer.Codes(rows)), {want.begin(), want.begin() + rows}));
  });
}

}  // namespace
}  // namespace latentd
