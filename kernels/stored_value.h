// The values of a checkpoint's tensors, one at a time: by definition, and slow. For small tensors.
#pragma once

#include <cstddef>

#include "kernels/tensor.h"

namespace latentd {

// The number that lies there, at any alignment.
float StoredNumber(DType dtype, const std::byte* at);

// One value of a matrix, scaled where it is E4M3.
float StoredValue(const MatrixSource& source, int output, int input);

}  // namespace latentd
