// Products of activations with weights: Linear, and the grouped products of MixExperts. Launchers only; every pointer
// is device memory, nothing allocates or synchronises.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

// Rows of activations in the order and format in which a product with one weight reads them (fragments.cuh).
struct FragmentRows {
  std::byte* values = nullptr;  // [rows][stride bytes]
  float* scales = nullptr;      // [rows][scale_stride], one per 128 inputs; for E4M3 weights only
  int stride = 0;
  int scale_stride = 0;
  bool codes = false;  // E4M3 codes as in Activation, instead of split fp32
};

// Memory for the activations of one product, reserved once for the largest step.
size_t FragmentBytes(int max_rows, int max_inputs);
FragmentRows FragmentsAt(std::byte* memory, int max_rows, int max_inputs);

// The activations of x for products with w: its codes where there are some and w is E4M3, else split into `scratch`.
FragmentRows PrepareActivations(cudaStream_t stream, const Activation& x, const MatrixView& w,
                                const FragmentRows& scratch);

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
void Linear(cudaStream_t stream, const Activation& x, const MatrixView& w, const FragmentRows& scratch, Tensor out);

}  // namespace latentd::cuda
