// The values of one tensor in fp32, a few rows at a time: where a conversion reads from, whatever the stored format.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace latentd {

struct ValueRows {
  std::vector<int64_t> shape;  // [outputs, inputs] or [width], which is one row
  // Fills `values` with rows first_row and following. The same rows read twice are the same values.
  std::function<void(int64_t first_row, std::span<float> values)> read;

  int64_t rows() const { return shape.size() == 1 ? 1 : shape[0]; }
  int64_t width() const { return shape.back(); }
};

// Valid as long as the matrix's bytes and scales.
ValueRows RowsOf(const MatrixSource& matrix);

}  // namespace latentd
