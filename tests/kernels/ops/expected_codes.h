// The FP8 codes and scales of rows as spec 4.3 defines them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/kernels/ops/op_backend.h"

namespace latentd {

// Codes are exactly those of the values beside them, and zero behind the width.
inline void ExpectCodesOfValues(DeviceActivation& filled) {
  const std::vector<std::vector<float>> rows = filled.values().Get();
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (const std::vector<float>& row : rows) {
    for (size_t begin = 0; begin < row.size(); begin += kCodeGroup) {
      const size_t end = std::min(begin + kCodeGroup, row.size());
      float peak = 1e-4f;
      for (size_t i = begin; i < end; ++i) peak = std::max(peak, std::fabs(row[i]));
      scales.push_back(peak / 448.0f);
      for (size_t i = begin; i < end; ++i) codes.push_back(EncodeE4M3(row[i] / scales.back()));
      codes.insert(codes.end(), begin + kCodeGroup - end, 0);
    }
  }
  EXPECT_EQ(filled.codes(), codes);
  EXPECT_EQ(filled.scales(), scales);
}

}  // namespace latentd
