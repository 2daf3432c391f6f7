// The values of a checkpoint's tensors, one at a time: by definition, and slow. For small tensors.
#pragma once

#include <cstddef>

#include "kernels/tensor.h"

namespace latentd {

// The number that lies there, at any alignment. Not for kInt4.
float StoredNumber(DType dtype, const std::byte* at);

// The code -8 … 7 of an input of a kInt4 row, before scaling.
int CodeInt4(const std::byte* row, int input);

// One value of a matrix, scaled where it is E4M3 or INT4.
float StoredValue(const MatrixSource& source, int output, int input);

}  // namespace latentd
