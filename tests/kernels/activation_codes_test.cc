// FP8 codes of activations on the CPU, bit for bit against the definition, on every target.
#include "kernels/cpu/activation_codes.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/product_inputs.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/codes.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr ScaleFormat kFormats[] = {ScaleFormat::kF32, ScaleFormat::kUe8m0};

// Rows with room for their codes, all of which are wrong at first.
struct CodedRows {
  CodedRows(const std::vector<std::vector<float>>& rows, ScaleFormat format)
      : values(static_cast<int>(rows.size()), static_cast<int>(rows[0].size())), activation(values.tensor()) {
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy(rows[r].begin(), rows[r].end(), values.tensor().Row(static_cast<int>(r)));
    codes.assign(rows.size() * static_cast<size_t>(activation.code_stride()), 0xFF);
    scales.assign(rows.size() * static_cast<size_t>(activation.num_groups()), -1.0f);
    activation.codes = codes.data();
    activation.scales = scales.data();
    activation.scale_format = format;
  }

  OwnedTensor values;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  Activation activation;
};

// The codes' values and scales, as products read them.
cpu::ProductRows Decode(ThreadPool& pool, const Activation& coded, cpu::CpuDevice& device, cpu::ProductInputs& inputs) {
  EXPECT_TRUE(inputs
                  .Reserve(device, {.max_tokens = coded.values.rows,
                                    .max_linear_inputs = coded.values.width,
                                    .attention = {},
                                    .activations = ActivationFormat::kE4M3})
                  .ok());
  return inputs.Rows(pool, coded, cpu::InputKind::kCodes);
}

void ExpectDefinition(ThreadPool& pool, const std::vector<std::vector<float>>& rows, ScaleFormat format) {
  CodedRows coded(rows, format);
  cpu::FillCodes(pool, coded.activation);
  cpu::CpuDevice device;
  cpu::ProductInputs inputs;
  const cpu::ProductRows decoded = Decode(pool, coded.activation, device, inputs);
  auto code = coded.codes.begin();
  auto scale = coded.scales.begin();
  for (size_t r = 0; r < rows.size(); ++r) {
    const contract::CodedRow want = contract::CodesOf(rows[r], format);
    ASSERT_EQ(std::vector<uint8_t>(code, code + std::ssize(want.codes)), want.codes);
    ASSERT_TRUE(SameBytes(std::vector<float>(scale, scale + std::ssize(want.scales)), want.scales));
    std::vector<float> values;
    for (size_t i = 0; i < rows[r].size(); ++i) values.push_back(DecodeE4M3(want.codes[i]));
    ASSERT_TRUE(SameBytes({decoded.values[r], decoded.values[r] + values.size()}, values));
    ASSERT_TRUE(SameBytes({decoded.scales[r], decoded.scales[r] + want.scales.size()}, want.scales));
    code += std::ssize(want.codes);
    scale += std::ssize(want.scales);
  }
}

TEST(ActivationCodes, AreThoseOfTheDefinition) {
  std::mt19937 random(40);
  ThreadPool pool(2);
  for (const int width : {1, 7, 128, 130, 300, 519}) {
    std::vector<std::vector<float>> rows;
    for (int r = 0; r < 9; ++r) {
      rows.push_back(RandomValues(static_cast<size_t>(width), random));
      for (float& value : rows.back()) value *= std::ldexp(1.0f, 12 * r - 60);
    }
    for (const ScaleFormat format : kFormats) ForEachTarget([&] { ExpectDefinition(pool, rows, format); });
  }
}

// With a scale of 1 every code, every midpoint and its neighbours, and values too small for any code.
TEST(ActivationCodes, RoundEveryValueBetweenTwoCodesAsTheDefinitionDoes) {
  ThreadPool pool(1);
  std::vector<std::vector<float>> rows;
  const auto add = [&](float value) {
    if (rows.empty() || rows.back().size() == kCodeGroup) rows.push_back({448.0f});
    rows.back().push_back(rows.back().size() % 2 == 0 ? value : -value);
  };
  for (int code = 0; code < 126; ++code) {
    const float low = DecodeE4M3(static_cast<uint8_t>(code)), high = DecodeE4M3(static_cast<uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    for (const float value : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) add(value);
  }
  for (const float value : {0x1p-149f, 0x1p-126f, 0x1p-20f, 1e-3f, -0.0f}) add(value);
  rows.back().resize(kCodeGroup, 0.0f);
  for (const ScaleFormat format : kFormats) ForEachTarget([&] { ExpectDefinition(pool, rows, format); });
}

TEST(ActivationCodes, ZerosAndTinyValuesKeepTheSmallestScale) {
  ThreadPool pool(1);
  const std::vector<std::vector<float>> rows = {std::vector<float>(200, 0.0f), std::vector<float>(200, 1e-6f),
                                                std::vector<float>(200, -0x1p-140f)};
  ForEachTarget([&] {
    for (const ScaleFormat format : kFormats) {
      ExpectDefinition(pool, rows, format);
      CodedRows coded(rows, format);
      cpu::FillCodes(pool, coded.activation);
      const float smallest = format == ScaleFormat::kF32 ? 1e-4f / 448.0f : 0x1p-22f;
      EXPECT_EQ(coded.scales, std::vector<float>(6, smallest));
    }
  });
}

TEST(ActivationCodes, WhatIsNotFiniteStaysSo) {
  ThreadPool pool(1);
  std::vector<std::vector<float>> rows(2, std::vector<float>(130, 1.0f));
  rows[0][5] = std::numeric_limits<float>::quiet_NaN();
  rows[1][7] = -std::numeric_limits<float>::infinity();
  ForEachTarget([&] {
    for (const ScaleFormat format : kFormats) {
      CodedRows coded(rows, format);
      cpu::FillCodes(pool, coded.activation);
      cpu::CpuDevice device;
      cpu::ProductInputs inputs;
      const cpu::ProductRows decoded = Decode(pool, coded.activation, device, inputs);
      const auto value = [&](size_t row, size_t i) {
        return decoded.values[row][i] * decoded.scales[row][i / kCodeGroup];
      };
      EXPECT_TRUE(std::isnan(value(0, 5)));
      EXPECT_EQ(value(0, 4), 1.0f);
      EXPECT_FALSE(std::isfinite(value(1, 7)));
      EXPECT_EQ(value(1, 128), 1.0f) << "the other group";
    }
  });
}

}  // namespace
}  // namespace latentd
