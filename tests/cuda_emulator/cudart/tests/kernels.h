// Small kernels for the tests of the fake runtime, and their launchers: <<<>>> as nvcc compiles it.
#pragma once

#include <cuda_runtime_api.h>

namespace cuda_emulator {

struct LaunchShape {
  dim3 grid = 2;
  dim3 block = 32;
  size_t shared_bytes = 0;
};

// values[i] = value
void LaunchFill(cudaStream_t stream, float* values, int count, float value);
// out[i] = in[i] + step, the step as an argument or from memory
void LaunchAdd(cudaStream_t stream, float* out, const float* in, int count, float step);
void LaunchAddFromMemory(cudaStream_t stream, float* out, const float* in, int count, const float* step);
// out[i] = in[i] + the module's table[i % 4] and constant 0.5
void LaunchAddTable(cudaStream_t stream, float* out, const float* in, int count);
// Each thread stores to and loads from the dynamic shared memory's last words.
void LaunchShared(cudaStream_t stream, const LaunchShape& shape, float* out);
// At most 128 threads.
void LaunchBounded(cudaStream_t stream, const LaunchShape& shape, float* out);
// With 40 KiB of static shared memory, and dynamic.
void LaunchStatic(cudaStream_t stream, const LaunchShape& shape, float* out);

const void* SharedKernel();
const void* StaticKernel();
const void* TableSymbol();

}  // namespace cuda_emulator
