// Shapes that only we can get wrong: stops the process with both numbers.
#pragma once

#include "base/check.h"
#include "kernels/tensor.h"

namespace latentd {

inline void CheckShape(const Tensor& tensor, int rows, int width) {
  CHECK_EQ(tensor.rows, rows);
  CHECK_EQ(tensor.width, width);
  CHECK_GE(tensor.stride, width);
}

inline void CheckSameShape(const Tensor& a, const Tensor& b) { CheckShape(a, b.rows, b.width); }

}  // namespace latentd
