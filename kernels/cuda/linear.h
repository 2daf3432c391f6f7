// Products of activations with weights: Linear, and the grouped products of MixExperts. Launchers only; every pointer
// is device memory, nothing allocates or synchronises.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/cuda/fragments.h"
#include "kernels/cuda/launch.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

// Tiles of rows, each for one expert. Built on the device; the host knows upper bounds only.
struct RowTile {
  int expert;
  int first;  // rows [first, first + count) of the permuted order
  int count;
};
struct RowGroups {
  const RowTile* tiles = nullptr;
  const int* num_tiles = nullptr;
  int max_tiles = 0;
  int tile_rows = 0;              // no tile has more: 8 or 32
  const int* x_rows = nullptr;    // [permuted row]: its row of x; null: the same
  const int* out_rows = nullptr;  // [permuted row]: its row of out; null: the same
  size_t expert_bytes = 0;        // from one expert's weight, and scales, to the next one's
};

// out [x.rows, outputs] = x wᵀ for all `rows` rows.
void Multiply(cudaStream_t stream, const FragmentRows& x, const MatrixView& w, Tensor out);
// The same per tile; w is expert 0's weight.
void MultiplyGroups(cudaStream_t stream, const FragmentRows& x, const MatrixView& w, const RowGroups& groups,
                    Tensor out);

// PrepareActivations, then Multiply. Zero rows are fine.
void Linear(cudaStream_t stream, const Activation& x, const MatrixView& w, std::byte* scratch, Tensor out);

}  // namespace latentd::cuda
