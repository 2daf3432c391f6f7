// Common to all launchers of CUDA kernels.
#pragma once

#include "kernels/tensor.h"

namespace latentd::cuda {

// A packed weight in the device's memory, row-major [outputs, inputs]; kernels/cuda/packed.h says how it is padded.
struct MatrixView {
  DType dtype = DType::kF32;
  int outputs = 0;
  int inputs = 0;
  const void* values = nullptr;
  int stride = 0;                 // values between rows
  const float* scales = nullptr;  // kE4M3: [⌈outputs/128⌉, scale_stride]
  int scale_stride = 0;
};

// Stops the process, with the kernel's name and CUDA's reason, where a launch was refused: what a kernel may ask for is
// decided when it is written.
void CheckLaunch(const char* kernel);

}  // namespace latentd::cuda
