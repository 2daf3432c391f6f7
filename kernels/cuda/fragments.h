// Activations as products with weights read them. Launchers only; every pointer is device memory, nothing allocates or
// synchronises.
#pragma once

#include <cstddef>

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

// Scratch memory for the activations of one product, reserved once for the largest step.
size_t FragmentBytes(int max_rows, int max_inputs);

// The activations of x for products with w: its codes where it has some and w is E4M3, else split into `scratch`.
FragmentRows PrepareActivations(cudaStream_t stream, const Activation& x, const MatrixView& w, std::byte* scratch);

}  // namespace latentd::cuda
