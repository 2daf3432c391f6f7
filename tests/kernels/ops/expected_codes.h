// The FP8 codes and scales of rows as docs/spec/deepseek.md 4.3 defines them.
#pragma once

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/reference/codes.h"

namespace latentd {

inline constexpr ScaleFormat kScaleFormats[] = {ScaleFormat::kF32, ScaleFormat::kUe8m0};

// Gives the activation these values exactly, and their codes: silu(128) is 128 in any rounding.
inline void FillWith(Backend& backend, std::vector<std::vector<float>> rows, DeviceActivation& activation) {
  const std::vector<std::vector<float>> gates(rows.size(), std::vector<float>(rows[0].size(), 128.0f));
  for (std::vector<float>& row : rows) {
    for (float& value : row) value /= 128.0f;
  }
  const DeviceRows gate(backend, gates), up(backend, rows);
  backend.ops->SwiGlu(gate.tensor(), up.tensor(), activation.activation());
}

// Codes are exactly those of the values beside them, and zero behind the width.
inline void ExpectCodesOfValues(DeviceActivation& filled) {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (const std::vector<float>& row : filled.values().Get()) {
    const contract::CodedRow coded = contract::CodesOf(row, filled.activation().scale_format);
    codes.insert(codes.end(), coded.codes.begin(), coded.codes.end());
    scales.insert(scales.end(), coded.scales.begin(), coded.scales.end());
  }
  EXPECT_EQ(filled.codes(), codes);
  EXPECT_EQ(filled.scales(), scales);
}

}  // namespace latentd
