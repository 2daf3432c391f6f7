// The verb Linear.
#pragma once

#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

// out [rows, outputs] = x [rows, inputs] Wᵀ. Fastest when x's stride is not a multiple of 4 KiB: else the rows of a
// tile share their sets of L1. row_scratch holds the rows' addresses during the call.
void Linear(ThreadPool& pool, Tensor x, const PackedMatrix& w, Tensor out, std::vector<const float*>& row_scratch);

}  // namespace latentd::cpu
