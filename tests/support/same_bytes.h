// Equality as bytes: -0 is not 0, and a NaN equals itself.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {

inline testing::AssertionResult SameBytes(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " values against " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) {
      return testing::AssertionFailure() << "value " << i << ": " << a[i] << " against " << b[i];
    }
  }
  return testing::AssertionSuccess();
}

inline testing::AssertionResult SameBytes(const std::vector<std::vector<float>>& a,
                                          const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " rows against " << b.size();
  for (size_t row = 0; row < a.size(); ++row) {
    if (testing::AssertionResult same = SameBytes(std::span(a[row]), std::span(b[row])); !same) {
      return testing::AssertionFailure() << "row " << row << ", " << same.message();
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace latentd
