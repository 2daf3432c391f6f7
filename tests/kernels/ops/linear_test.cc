// Linear on any backend: against the paper in double, and a row's independence of its company.
#include "tests/reference/linear.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/kernels/ops/expected_codes.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using Rows = std::vector<std::vector<float>>;

bool ComputesInt4() { return TestTraits().name == "cpu"; }

// What the backend multiplies with.
std::vector<DType> DTypes() {
  std::vector<DType> types = {DType::kE4M3, DType::kBf16, DType::kF32};
  if (ComputesInt4()) types.push_back(DType::kInt4);
  return types;
}

struct Shape {
  int outputs;
  int inputs;
};
// Whole blocks and edges, one value, less than a tile, inputs of three and more blocks in one and in several ranges.
constexpr Shape kShapes[] = {{1, 1}, {17, 127}, {200, 129}, {576, 40}, {128, 256}, {300, 650}, {65, 1290}};

StepLimits Limits(ActivationFormat activations) {
  StepLimits limits = SmallLimits(activations);
  limits.max_tokens = 256;
  limits.max_linear_inputs = 1300;
  return limits;
}

class Linear : public testing::Test {
 protected:
  explicit Linear(ActivationFormat activations = ActivationFormat::kF32)
      : backend_(MakeTestBackend(Limits(activations))) {}

  std::unique_ptr<const Matrix> Pack(const StoredMatrix& stored) {
    return OrDie(backend_.ops->PackLinear(stored.Source()));
  }

  Rows Multiply(const Activation& x, const Matrix& weight) {
    const DeviceRows out(backend_, x.values.rows, weight.outputs);
    backend_.ops->Linear(x, weight, out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    return out.Get();
  }

  static double Error(const Rows& got, const reference::Rows& weight, const Rows& x,
                      reference::InputForm form = reference::InputForm::kAsTheyAre) {
    std::vector<float> all;
    reference::Vector want;
    for (size_t r = 0; r < x.size(); ++r) {
      const reference::Vector y = reference::Linear(weight, InForm(form, ToDouble(x[r]), ScaleFormat::kF32));
      all.insert(all.end(), got[r].begin(), got[r].end());
      want.insert(want.end(), y.begin(), y.end());
    }
    return RelativeError(all, want);
  }

  std::mt19937 random_{9};  // fixed: a failure repeats
  Backend backend_;
};

TEST_F(Linear, FollowsThePaper) {
  for (const DType dtype : DTypes()) {
    for (const Shape& shape : kShapes) {
      const StoredMatrix stored = StoredMatrix::Random(dtype, shape.outputs, shape.inputs, random_);
      const auto packed = Pack(stored);
      for (const int rows : {1, 9, 45}) {
        const DeviceRows x(backend_, RandomRows(rows, shape.inputs, random_));
        const Rows got = Multiply(x.tensor(), *packed);
        EXPECT_LT(Error(got, stored.Reference(), x.Get()), TestTraits().linear_error)
            << "type " << static_cast<int>(dtype) << ", " << shape.outputs << " x " << shape.inputs << ", " << rows
            << " rows";
      }
    }
  }
}

class Bf16Linear : public Linear {
 protected:
  Bf16Linear() : Linear(ActivationFormat::kBf16) {}
};

TEST_F(Bf16Linear, FollowsThePaper) {
  if (!ComputesWith(backend_, ActivationFormat::kBf16)) GTEST_SKIP();
  for (const DType dtype : DTypes()) {
    for (const bool keeps_inputs : {false, true}) {
      const StoredMatrix stored = StoredMatrix::Random(dtype, 130, 300, random_);
      MatrixSource source = stored.Source();
      source.keeps_inputs = keeps_inputs;
      const DeviceRows x(backend_, RandomRows(9, 300, random_));
      const Rows got = Multiply(x.tensor(), *OrDie(backend_.ops->PackLinear(source)));
      const reference::InputForm form = InputFormOf(source, ActivationFormat::kBf16);
      EXPECT_LT(Error(got, stored.Reference(), x.Get(), form), TestTraits().linear_error)
          << "type " << static_cast<int>(dtype) << (keeps_inputs ? ", which keeps its inputs" : "");
    }
  }
}

TEST_F(Linear, Int4IsRefusedByNameWhereItIsNotComputed) {
  const StoredMatrix int4 = StoredMatrix::Random(DType::kInt4, 32, 64, random_);
  const StoredMatrix fp8 = StoredMatrix::Random(DType::kE4M3, 32, 64, random_);
  const ExpertSource plain = {.gate = fp8.Source(), .up = fp8.Source(), .down = fp8.Source()};
  ExpertSource packed = plain;
  packed.up = int4.Source();
  for (const absl::Status& status : {backend_.ops->PackLinear(int4.Source()).status(),
                                     backend_.ops->PackExperts(std::span(&packed, 1), &plain).status(),
                                     backend_.ops->PackExperts(std::span(&plain, 1), &packed).status()}) {
    EXPECT_EQ(status.ok(), ComputesInt4());
    if (ComputesInt4()) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_NE(status.message().find("found INT4"), std::string::npos) << status;
  }
}

TEST_F(Linear, NoRowsAreFine) {
  for (const DType dtype : DTypes()) {
    const auto packed = Pack(StoredMatrix::Random(dtype, 40, 40, random_));
    const DeviceRows x(backend_, 1, 40), out(backend_, 1, 40);
    backend_.ops->Linear(x.Part(0, 0), *packed, out.Part(0, 0));
    backend_.device->Synchronize();
  }
}

TEST_F(Linear, ARowAloneEqualsTheRowInCompany) {
  for (const DType dtype : DTypes()) {
    const auto packed = Pack(StoredMatrix::Random(dtype, 320, 650, random_));
    const DeviceRows x(backend_, RandomRows(50, 650, random_));
    const Rows together = Multiply(x.tensor(), *packed);
    for (const int r : {0, 1, 7, 8, 31, 32, 49}) {
      EXPECT_TRUE(SameBytes(Multiply(x.Part(r, 1), *packed)[0], together[static_cast<size_t>(r)])) << "row " << r;
    }
  }
}

TEST_F(Linear, AnyNumberOfRowsGivesTheSameBits) {
  for (const DType dtype : DTypes()) {
    const auto packed = Pack(StoredMatrix::Random(dtype, 100, 520, random_));
    const DeviceRows x(backend_, RandomRows(70, 520, random_));
    const Rows together = Multiply(x.tensor(), *packed);
    for (const int rows : {2, 3, 5, 8, 9, 16, 17, 31, 33, 64}) {
      EXPECT_TRUE(SameBytes(Multiply(x.Part(0, rows), *packed), Rows(together.begin(), together.begin() + rows)));
    }
  }
}

// So many outputs that a backend with many processors divides the work otherwise.
TEST_F(Linear, ManyOutputsGiveTheSameBitsAsFew) {
  constexpr int kOutputs = 33'792, kInputs = 256;
  const std::vector<float> values = RandomValues(1024, random_);
  std::vector<uint8_t> codes(static_cast<size_t>(kOutputs) * kInputs);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = EncodeE4M3(values[i * 7 % 1021]);
  const auto packed = Pack(StoredMatrix::FromCodes(kOutputs, kInputs, codes, random_));
  const DeviceRows x(backend_, RandomRows(9, kInputs, random_));
  EXPECT_TRUE(SameBytes(Multiply(x.Part(0, 1), *packed)[0], Multiply(x.tensor(), *packed)[0]));
}

// A one-hot row reads a column of the matrix: what the packing and the decoders make of each code, in every lane.
TEST_F(Linear, DequantizesEveryCodeInEveryLane) {
  constexpr int kInputs = 256;
  Rows one_hot(kInputs, std::vector<float>(kInputs, 0.0f));
  for (size_t k = 0; k < kInputs; ++k) one_hot[k][k] = 1.0f;
  const DeviceRows x(backend_, one_hot);
  for (const int outputs : {1, 200, 576}) {
    std::vector<uint8_t> codes;
    for (int n = 0; n < outputs; ++n)
      for (int k = 0; k < kInputs; ++k) {
        const auto code = static_cast<uint8_t>(k + 37 * n);
        codes.push_back(IsNanE4M3(code) ? uint8_t{0} : code);
      }
    const StoredMatrix stored = StoredMatrix::FromCodes(outputs, kInputs, codes, random_);
    const contract::Matrix exact = stored.Contract();
    const Rows got = Multiply(x.tensor(), *Pack(stored));
    for (int k = 0; k < kInputs; ++k)
      for (int n = 0; n < outputs; ++n)
        ASSERT_EQ(got[static_cast<size_t>(k)][static_cast<size_t>(n)], exact.Code(n, k) * exact.Scale(n, k))
            << "code " << int{codes[static_cast<size_t>(n * kInputs + k)]} << ", output " << n;
  }
}

TEST_F(Linear, ActivationsMayBeTinyOrHuge) {
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, 64, 256, random_);
  const auto packed = Pack(stored);
  for (const float factor : {1e-24f, 1e30f}) {
    Rows rows = RandomRows(9, 256, random_);
    for (std::vector<float>& row : rows)
      for (float& value : row) value *= factor;
    const DeviceRows x(backend_, rows);
    EXPECT_LT(Error(Multiply(x.tensor(), *packed), stored.Reference(), rows), TestTraits().linear_error) << factor;
  }
}

TEST_F(Linear, ABadRowSpoilsNoOther) {
  for (const DType dtype : DTypes()) {
    const auto packed = Pack(StoredMatrix::Random(dtype, 40, 300, random_));
    Rows rows = RandomRows(12, 300, random_);
    const DeviceRows good(backend_, rows);
    const Rows want = Multiply(good.tensor(), *packed);
    rows[3][200] = std::numeric_limits<float>::quiet_NaN();
    rows[9][0] = std::numeric_limits<float>::infinity();
    const DeviceRows bad(backend_, rows);
    const Rows got = Multiply(bad.tensor(), *packed);
    for (size_t r = 0; r < rows.size(); ++r) {
      if (r != 3 && r != 9) {
        EXPECT_TRUE(SameBytes(got[r], want[r])) << "row " << r;
        continue;
      }
      EXPECT_TRUE(std::none_of(got[r].begin(), got[r].end(), [](float y) { return std::isfinite(y); })) << "row " << r;
    }
  }
}

// Activations with codes, as a norm leaves them, and what the codes stand for.
class CodedLinear : public Linear {
 protected:
  CodedLinear() : Linear(ActivationFormat::kE4M3) {}

  Rows Fill(DeviceActivation& x) {
    const auto width = static_cast<size_t>(x.activation().values.width);
    const auto rows = static_cast<size_t>(x.activation().values.rows);
    const DeviceValues<float> weight(backend_, std::vector<float>(width, 1.5f));
    const DeviceRows from(backend_, RandomRows(static_cast<int>(rows), static_cast<int>(width), random_));
    backend_.ops->RmsNorm(from.tensor(), weight.get(), 1e-6f, x.activation());
    Rows decoded;
    for (const std::vector<float>& row : x.values().Get())
      decoded.push_back(contract::RoundToCodes(row, x.activation().scale_format));
    return decoded;
  }
};

TEST_F(CodedLinear, MultipliesCodesWithCodes) {
  for (const Shape& shape : kShapes) {
    const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, shape.outputs, shape.inputs, random_);
    const auto packed = Pack(stored);
    for (const auto& [rows, format] :
         {std::pair(1, ScaleFormat::kF32), std::pair(13, ScaleFormat::kUe8m0), std::pair(45, ScaleFormat::kF32)}) {
      DeviceActivation x(backend_, rows, shape.inputs, format);
      const Rows decoded = Fill(x);
      EXPECT_LT(Error(Multiply(x.activation(), *packed), stored.Reference(), decoded), TestTraits().linear_error)
          << shape.outputs << " x " << shape.inputs << ", " << rows << " rows";
    }
  }
}

// docs/spec/deepseek.md 4.4: what the codes of both operands cost on normal values.
TEST_F(CodedLinear, ErrorAgainstUnquantisedOperandsIsAsExpected) {
  constexpr int kOutputs = 128, kInputs = 1024;
  const Rows weight = RandomRows(kOutputs, kInputs, random_);
  std::vector<uint8_t> codes(static_cast<size_t>(kOutputs) * kInputs);
  std::vector<float> scales;
  for (size_t begin = 0; begin < kInputs; begin += kCodeGroup) {
    float peak = 0.0f;
    for (const std::vector<float>& row : weight)
      for (size_t k = begin; k < begin + kCodeGroup; ++k) peak = std::max(peak, std::fabs(row[k]));
    scales.push_back(peak / 448.0f);
    for (size_t n = 0; n < weight.size(); ++n)
      for (size_t k = begin; k < begin + kCodeGroup; ++k)
        codes[n * kInputs + k] = EncodeE4M3(weight[n][k] / scales.back());
  }
  const auto packed = OrDie(backend_.ops->PackLinear({.dtype = DType::kE4M3,
                                                      .outputs = kOutputs,
                                                      .inputs = kInputs,
                                                      .bytes = reinterpret_cast<const std::byte*>(codes.data()),
                                                      .scales = scales}));
  reference::Rows exact;
  for (const std::vector<float>& row : weight) exact.push_back(ToDouble(row));
  for (const ScaleFormat format : kScaleFormats) {
    DeviceActivation x(backend_, 16, kInputs, format);
    Fill(x);
    const double error = Error(Multiply(x.activation(), *packed), exact, x.values().Get());
    EXPECT_GT(error, 0.025);
    EXPECT_LT(error, 0.045);
  }
}

// docs/spec/deepseek.md 6, P23: a row of zeros gives zeros, one below the floor keeps the smallest scale.
TEST_F(CodedLinear, RowsOfZerosAndOfTinyValuesAreFinite) {
  const auto packed = Pack(StoredMatrix::Random(DType::kE4M3, 70, 300, random_));
  for (const ScaleFormat format : kScaleFormats) {
    DeviceActivation x(backend_, 2, 300, format);
    const DeviceRows from(backend_, {std::vector<float>(300, 0.0f), std::vector<float>(300, 1.0f)});
    const DeviceValues<float> weight(backend_, std::vector<float>(300, 1e-6f));
    backend_.ops->RmsNorm(from.tensor(), weight.get(), 0.0625f, x.activation());
    ExpectCodesOfValues(x);
    const std::vector<float> scales = x.scales();
    const float smallest = format == ScaleFormat::kF32 ? 1e-4f / 448.0f : 0x1p-22f;
    EXPECT_EQ(scales, std::vector<float>(scales.size(), smallest));
    const Rows y = Multiply(x.activation(), *packed);
    EXPECT_EQ(y[0], std::vector<float>(70, 0.0f));
    for (const float value : y[1]) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_F(CodedLinear, ABadRowSpoilsNoOther) {
  const auto packed = Pack(StoredMatrix::Random(DType::kE4M3, 40, 300, random_));
  for (const ScaleFormat format : kScaleFormats) {
    Rows rows = RandomRows(5, 300, random_);
    DeviceActivation good(backend_, 5, 300, format), bad(backend_, 5, 300, format);
    FillWith(backend_, rows, good);
    rows[1][200] = std::numeric_limits<float>::quiet_NaN();
    rows[3][0] = -std::numeric_limits<float>::infinity();
    FillWith(backend_, rows, bad);
    const Rows want = Multiply(good.activation(), *packed), got = Multiply(bad.activation(), *packed);
    for (const size_t r : {0, 2, 4}) EXPECT_TRUE(SameBytes(got[r], want[r])) << "row " << r;
    for (const size_t r : {1, 3})
      EXPECT_TRUE(std::none_of(got[r].begin(), got[r].end(), [](float y) { return std::isfinite(y); })) << "row " << r;
  }
}

TEST_F(CodedLinear, ARowAloneEqualsTheRowInCompany) {
  const auto packed = Pack(StoredMatrix::Random(DType::kE4M3, 200, 650, random_));
  DeviceActivation x(backend_, 40, 650);
  Fill(x);
  const Rows together = Multiply(x.activation(), *packed);
  for (const int r : {0, 9, 39}) {
    EXPECT_TRUE(SameBytes(Multiply(x.Part(r, 1), *packed)[0], together[static_cast<size_t>(r)])) << "row " << r;
  }
}

TEST_F(CodedLinear, OtherWeightsReadTheValues) {
  for (const DType dtype : {DType::kBf16, DType::kF32}) {
    const auto packed = Pack(StoredMatrix::Random(dtype, 64, 300, random_));
    DeviceActivation x(backend_, 5, 300);
    Fill(x);
    EXPECT_TRUE(SameBytes(Multiply(x.activation(), *packed), Multiply(x.values().tensor(), *packed)));
  }
}

}  // namespace
}  // namespace latentd
