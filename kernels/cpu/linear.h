// The verb Linear.
#pragma once

#include "base/thread_pool.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

// out [rows, outputs] = x [rows, inputs] Wᵀ. Fastest when the rows of x do not lie multiples of 4 KiB apart: else those
// of a tile share their sets of L1.
void Linear(ThreadPool& pool, const ProductRows& x, const PackedMatrix& w, Tensor out);

}  // namespace latentd::cpu
