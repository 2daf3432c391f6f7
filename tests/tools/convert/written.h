// Values as a conversion reads them, and the bytes that a planned tensor writes.
#pragma once

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tools/convert/planned_tensor.h"
#include "tools/convert/value_rows.h"

namespace latentd {

inline ValueRows RowsFrom(std::vector<int64_t> shape, std::vector<float> values) {
  const int64_t width = shape.back();
  return {.shape = std::move(shape), .read = [width, values](int64_t first_row, std::span<float> out) {
            std::memcpy(out.data(), values.data() + first_row * width, out.size_bytes());
          }};
}

template <class T>
std::vector<T> Written(const PlannedTensor& tensor) {
  std::vector<T> values(tensor.num_bytes / sizeof(T));
  size_t at = 0;
  const absl::Status status = tensor.write([&](std::span<const std::byte> bytes) {
    std::memcpy(reinterpret_cast<std::byte*>(values.data()) + at, bytes.data(), bytes.size());
    at += bytes.size();
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(at, tensor.num_bytes);
  return values;
}

}  // namespace latentd
