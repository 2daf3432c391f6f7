// RmsNorm and AddRmsNorm, against the paper in double; their codes against the definition.
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/expected_codes.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/attention.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr float kEpsilon = 1e-6f;
// A row may be one value, end inside a vector or a group of 128, and be longer than what registers hold.
constexpr int kWidths[] = {1, 7, 16, 33, 128, 200, 513, 2048, 8708};

class Norm : public testing::Test {
 protected:
  std::vector<std::vector<float>> Rows(int rows, int width, float size = 1.0f) {
    std::vector<std::vector<float>> all = RandomRows(rows, width, random_);
    for (std::vector<float>& row : all) {
      for (float& value : row) value *= size;
    }
    return all;
  }

  std::mt19937 random_{20};  // fixed: a failure repeats
  Backend backend_ = MakeTestBackend(SmallLimits());
};

TEST_F(Norm, RmsNormIsThePapers) {
  for (const int width : kWidths) {
    for (const float size : {1e-8f, 1.0f, 1e4f}) {
      const auto rows = Rows(3, width, size), weights = Rows(1, width);
      const DeviceRows x(backend_, rows), weight(backend_, weights), out(backend_, 3, width);
      backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, out.tensor());
      const auto normed = out.Get();
      for (size_t row = 0; row < 3; ++row) {
        const reference::Vector expected = reference::RmsNorm(ToDouble(rows[row]), weights[0], double{kEpsilon});
        EXPECT_LT(RelativeError(normed[row], expected), TestTraits().elementwise_error)
            << "width " << width << ", size " << size;
      }
      EXPECT_TRUE(out.GapsUntouched());
    }
  }
}

TEST_F(Norm, AddRmsNormAddsThenNorms) {
  for (const int width : kWidths) {
    auto rows = Rows(3, width);
    const auto deltas = Rows(3, width);
    const DeviceRows x(backend_, rows), delta(backend_, deltas), weight(backend_, Rows(1, width));
    const DeviceRows out(backend_, 3, width), expected(backend_, 3, width);
    for (size_t row = 0; row < rows.size(); ++row) {
      for (size_t i = 0; i < rows[row].size(); ++i) rows[row][i] += deltas[row][i];
    }
    const DeviceRows sum(backend_, rows);
    backend_.ops->RmsNorm(sum.tensor(), weight.tensor().values, kEpsilon, expected.tensor());
    backend_.ops->AddRmsNorm(x.tensor(), delta.tensor(), weight.tensor().values, kEpsilon, out.tensor());
    EXPECT_TRUE(SameBytes(x.Get(), rows)) << width;
    EXPECT_TRUE(SameBytes(out.Get(), expected.Get())) << width;
    EXPECT_TRUE(x.GapsUntouched() && out.GapsUntouched());
    EXPECT_TRUE(SameBytes(delta.Get(), deltas)) << width;
  }
}

TEST_F(Norm, CodesAreThoseOfTheValues) {
  for (const int width : kWidths) {
    // A row of tiny values keeps the smallest scale there is.
    for (const auto& [size, format] : {std::pair(1e-8f, ScaleFormat::kF32), std::pair(1.0f, ScaleFormat::kF32),
                                       std::pair(1e-8f, ScaleFormat::kUe8m0), std::pair(1.0f, ScaleFormat::kUe8m0)}) {
      const DeviceRows x(backend_, Rows(3, width)), delta(backend_, Rows(3, width));
      const DeviceRows weight(backend_, Rows(1, width, size)), plain(backend_, 3, width);
      DeviceActivation normed(backend_, 3, width, format), added(backend_, 3, width, format);
      backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, plain.tensor());
      backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, normed.activation());
      backend_.ops->AddRmsNorm(x.tensor(), delta.tensor(), weight.tensor().values, kEpsilon, added.activation());
      EXPECT_TRUE(SameBytes(normed.values().Get(), plain.Get())) << width;
      ExpectCodesOfValues(normed);
      ExpectCodesOfValues(added);
    }
  }
}

TEST_F(Norm, NormOfZerosIsZero) {
  const std::vector<std::vector<float>> zeros = {std::vector<float>(200, 0.0f)};
  const DeviceRows x(backend_, zeros), weight(backend_, Rows(1, 200));
  DeviceActivation out(backend_, 1, 200);
  backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, out.activation());
  EXPECT_EQ(out.values().Get(), zeros);
  EXPECT_EQ(out.scales(), std::vector<float>(2, 1e-4f / 448.0f));
}

TEST_F(Norm, MayOverwriteItsInput) {
  for (const int width : kWidths) {
    const DeviceRows x(backend_, Rows(3, width)), weight(backend_, Rows(1, width)), out(backend_, 3, width);
    backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, out.tensor());
    backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, x.tensor());
    EXPECT_TRUE(SameBytes(x.Get(), out.Get())) << width;
    EXPECT_TRUE(x.GapsUntouched());
  }
}

// Rows side by side become one input: [norm of x; norm of y].
TEST_F(Norm, WritesIntoHalfOfATensor) {
  for (const int width : kWidths) {
    const DeviceRows x(backend_, Rows(3, width)), y(backend_, Rows(3, width)), weight(backend_, Rows(1, width));
    const DeviceRows norm_x(backend_, 3, width), norm_y(backend_, 3, width), both(backend_, 3, 2 * width);
    const Tensor all = both.tensor();
    const float* w = weight.tensor().values;
    backend_.ops->RmsNorm(x.tensor(), w, kEpsilon, norm_x.tensor());
    backend_.ops->RmsNorm(y.tensor(), w, kEpsilon, norm_y.tensor());
    backend_.ops->RmsNorm(y.tensor(), w, kEpsilon, Tensor{all.values + width, all.rows, width, all.stride});
    backend_.ops->RmsNorm(x.tensor(), w, kEpsilon, Tensor{all.values, all.rows, width, all.stride});
    std::vector<std::vector<float>> expected = norm_x.Get();
    for (size_t row = 0; const std::vector<float>& half : norm_y.Get()) {
      expected[row].insert(expected[row].end(), half.begin(), half.end());
      ++row;
    }
    EXPECT_TRUE(SameBytes(both.Get(), expected)) << width;
    EXPECT_TRUE(both.GapsUntouched());
  }
}

TEST_F(Norm, ARowAloneEqualsTheRowInCompany) {
  for (const int width : {5, 77, 300, 8708}) {
    const auto rows = Rows(7, width);
    const DeviceRows x(backend_, rows), delta(backend_, Rows(7, width)), weight(backend_, Rows(1, width));
    const DeviceRows alone(backend_, 1, width), company(backend_, 7, width);
    backend_.ops->RmsNorm(x.tensor(), weight.tensor().values, kEpsilon, company.tensor());
    backend_.ops->RmsNorm(x.Part(4, 1), weight.tensor().values, kEpsilon, alone.tensor());
    EXPECT_TRUE(SameBytes(company.Get()[4], alone.Get()[0])) << width;
    backend_.ops->AddRmsNorm(x.Part(4, 1), delta.Part(4, 1), weight.tensor().values, kEpsilon, alone.tensor());
    const DeviceRows again(backend_, rows);
    backend_.ops->AddRmsNorm(again.tensor(), delta.tensor(), weight.tensor().values, kEpsilon, company.tensor());
    EXPECT_TRUE(SameBytes(company.Get()[4], alone.Get()[0])) << width;
  }
}

}  // namespace
}  // namespace latentd
