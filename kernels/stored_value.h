// What a checkpoint's matrix holds, one value at a time: by definition, and slow. For packing what is small.
#pragma once

#include "kernels/tensor.h"

namespace latentd {

// Decoded, and scaled where the matrix is E4M3.
float StoredValue(const MatrixSource& source, int output, int input);

}  // namespace latentd
