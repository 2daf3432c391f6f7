// SwiGlu, against the paper in double; its codes against the definition and the published example.
#include <numeric>
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

constexpr int kWidths[] = {1, 7, 16, 33, 128, 200, 513, 1024, 2052};

class SwiGlu : public testing::Test {
 protected:
  // Three rows; the second reaches far to where silu is x or zero.
  std::vector<std::vector<float>> Gates(int width) {
    auto rows = RandomRows(3, width, random_);
    for (float& value : rows[1]) value *= 60.0f;
    return rows;
  }

  std::mt19937 random_{21};  // fixed: a failure repeats
  Backend backend_ = MakeTestBackend(SmallLimits());
};

TEST_F(SwiGlu, IsThePapers) {
  for (const int width : kWidths) {
    const auto gates = Gates(width), ups = RandomRows(3, width, random_);
    const DeviceRows gate(backend_, gates), up(backend_, ups), out(backend_, 3, width);
    backend_.ops->SwiGlu(gate.tensor(), up.tensor(), out.tensor());
    const auto products = out.Get();
    for (size_t row = 0; row < 3; ++row) {
      reference::Vector expected;
      for (size_t i = 0; i < gates[row].size(); ++i) {
        expected.push_back(reference::Silu(gates[row][i]) * ups[row][i]);
      }
      EXPECT_LT(RelativeError(products[row], expected), TestTraits().elementwise_error) << "width " << width;
    }
    EXPECT_TRUE(out.GapsUntouched());
  }
}

TEST_F(SwiGlu, CodesAreThoseOfTheValues) {
  for (const int width : kWidths) {
    for (const ScaleFormat format : kScaleFormats) {
      const DeviceRows gate(backend_, Gates(width)), up(backend_, RandomRows(3, width, random_));
      const DeviceRows plain(backend_, 3, width);
      DeviceActivation out(backend_, 3, width, format);
      backend_.ops->SwiGlu(gate.tensor(), up.tensor(), plain.tensor());
      backend_.ops->SwiGlu(gate.tensor(), up.tensor(), out.activation());
      EXPECT_TRUE(SameBytes(out.values().Get(), plain.Get())) << width;
      ExpectCodesOfValues(out);
    }
  }
}

std::vector<float> PublishedExample() {  // docs/spec/deepseek.md 4.3
  std::vector<float> values(128);
  std::iota(values.begin(), values.end(), -64.0f);
  return values;
}

TEST_F(SwiGlu, CodesMatchThePublishedExampleOfUe8m0) {
  DeviceActivation out(backend_, 1, 128, ScaleFormat::kUe8m0);
  FillWith(backend_, {PublishedExample()}, out);
  const std::vector<uint8_t> codes = out.codes();
  EXPECT_EQ(out.scales(), std::vector<float>{0.25f});
  EXPECT_EQ(codes[0], 0xF8);
  EXPECT_EQ(codes[37], 0xEE);
  EXPECT_EQ(codes[100], 0x71);
}

TEST_F(SwiGlu, APowerOfTwoIsItsOwnUe8m0Scale) {
  for (const auto& [largest, scale] : {std::pair(448.0f, 1.0f), std::pair(448.5f, 2.0f), std::pair(447.5f, 1.0f),
                                       std::pair(0.0f, 0x1p-22f), std::pair(896.0f, 2.0f)}) {
    std::vector<float> values(128, 0.0f);
    values[77] = -largest;
    DeviceActivation out(backend_, 1, 128, ScaleFormat::kUe8m0);
    FillWith(backend_, {values}, out);
    EXPECT_EQ(out.scales(), std::vector<float>{scale}) << largest;
    ExpectCodesOfValues(out);
  }
}

TEST_F(SwiGlu, CodesMatchThePublishedExample) {
  DeviceActivation out(backend_, 1, 128);
  FillWith(backend_, {PublishedExample()}, out);
  const std::vector<uint8_t> codes = out.codes();
  EXPECT_EQ(out.scales(), std::vector<float>{0.142857149f});
  EXPECT_EQ(codes[0], 0xFE);
  EXPECT_EQ(codes[1], 0xFE);
  EXPECT_EQ(codes[37], 0xF4);
  EXPECT_EQ(codes[63], 0xCE);
  EXPECT_EQ(codes[64], 0x00);
  EXPECT_EQ(codes[100], 0x78);
  EXPECT_EQ(codes[127], 0x7E);
}

TEST_F(SwiGlu, MayOverwriteEitherInput) {
  for (const int width : kWidths) {
    const DeviceRows gate(backend_, Gates(width)), up(backend_, RandomRows(3, width, random_));
    const DeviceRows out(backend_, 3, width), over_gate(backend_, gate.Get());
    backend_.ops->SwiGlu(gate.tensor(), up.tensor(), out.tensor());
    backend_.ops->SwiGlu(over_gate.tensor(), up.tensor(), over_gate.tensor());
    backend_.ops->SwiGlu(gate.tensor(), up.tensor(), up.tensor());
    EXPECT_TRUE(SameBytes(over_gate.Get(), out.Get())) << width;
    EXPECT_TRUE(SameBytes(up.Get(), out.Get())) << width;
  }
}

TEST_F(SwiGlu, ARowAloneEqualsTheRowInCompany) {
  for (const int width : {5, 77, 300, 1156}) {
    const DeviceRows gate(backend_, RandomRows(7, width, random_)), up(backend_, RandomRows(7, width, random_));
    const DeviceRows alone(backend_, 1, width), company(backend_, 7, width);
    backend_.ops->SwiGlu(gate.tensor(), up.tensor(), company.tensor());
    backend_.ops->SwiGlu(gate.Part(4, 1), up.Part(4, 1), alone.tensor());
    EXPECT_TRUE(SameBytes(company.Get()[4], alone.Get()[0])) << width;
  }
}

}  // namespace
}  // namespace latentd
