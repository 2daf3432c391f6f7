// Algorithm: elementwise, one thread per value; nothing here is meant to be fast.
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

constexpr int kThreads = 32;

__device__ float table[4];
__constant__ float half = 0.5f;

__global__ void FillKernel(float* values, int count, float value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] = value;
}

__global__ void AddKernel(float* out, const float* in, int count, float step) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = in[i] + step;
}

__global__ void AddFromMemoryKernel(float* out, const float* in, int count, const float* step) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = in[i] + *step;
}

__global__ void AddTableKernel(float* out, const float* in, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = in[i] + table[i % 4] + half;
}

__global__ void SharedMemoryKernel(float* out) {
  extern __shared__ float dynamic[];
  dynamic[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = dynamic[blockDim.x - 1 - threadIdx.x];
}

__global__ void __launch_bounds__(128) BoundedKernel(float* out) { out[threadIdx.x] = 1.0f; }

__global__ void StaticMemoryKernel(float* out) {
  __shared__ float fixed[10240];
  fixed[threadIdx.x * 16] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = fixed[(threadIdx.x ^ 1) * 16];
}

unsigned Blocks(int count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

}  // namespace

void LaunchFill(cudaStream_t stream, float* values, int count, float value) {
  FillKernel<<<Blocks(count), kThreads, 0, stream>>>(values, count, value);
}

void LaunchAdd(cudaStream_t stream, float* out, const float* in, int count, float step) {
  AddKernel<<<Blocks(count), kThreads, 0, stream>>>(out, in, count, step);
}

void LaunchAddFromMemory(cudaStream_t stream, float* out, const float* in, int count, const float* step) {
  AddFromMemoryKernel<<<Blocks(count), kThreads, 0, stream>>>(out, in, count, step);
}

void LaunchAddTable(cudaStream_t stream, float* out, const float* in, int count) {
  AddTableKernel<<<Blocks(count), kThreads, 0, stream>>>(out, in, count);
}

void LaunchShared(cudaStream_t stream, const LaunchShape& shape, float* out) {
  SharedMemoryKernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(out);
}

void LaunchBounded(cudaStream_t stream, const LaunchShape& shape, float* out) {
  BoundedKernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(out);
}

void LaunchStatic(cudaStream_t stream, const LaunchShape& shape, float* out) {
  StaticMemoryKernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(out);
}

const void* SharedKernel() { return reinterpret_cast<const void*>(SharedMemoryKernel); }
const void* StaticKernel() { return reinterpret_cast<const void*>(StaticMemoryKernel); }
const void* TableSymbol() { return table; }

}  // namespace cuda_emulator
