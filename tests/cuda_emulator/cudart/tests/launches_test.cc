#include "tests/cuda_emulator/cudart/tests/arrays.h"
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

using Launcher = void(cudaStream_t, const LaunchShape&, float*);

// What CheckLaunch sees after it.
cudaError_t ErrorOf(Launcher* launch, const LaunchShape& shape) {
  Stream stream;
  float* out = nullptr;
  EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&out), 1024 * sizeof(float)), cudaSuccess);
  launch(stream, shape, out);
  const cudaError_t error = cudaGetLastError();
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  stream.Synchronize();
  EXPECT_EQ(cudaFree(out), cudaSuccess);
  return error;
}

TEST(Launches, ThreadsOfABlockAreLimited) {
  EXPECT_EQ(ErrorOf(LaunchShared, {.grid = 1, .block = 1024, .shared_bytes = 4096}), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchShared, {.block = 1025}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(ErrorOf(LaunchShared, {.block = dim3(32, 33)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(ErrorOf(LaunchShared, {.block = dim3(1, 1, 65)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(ErrorOf(LaunchShared, {.block = 0}), cudaErrorInvalidConfiguration);
}

TEST(Launches, LaunchBoundsHold) {
  EXPECT_EQ(ErrorOf(LaunchBounded, {.grid = 1, .block = 128}), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchBounded, {.grid = 1, .block = 129}), cudaErrorInvalidValue);
}

TEST(Launches, GridIsLimited) {
  EXPECT_EQ(ErrorOf(LaunchBounded, {.grid = 0}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(ErrorOf(LaunchBounded, {.grid = dim3(1, 65536)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(ErrorOf(LaunchBounded, {.grid = dim3(1, 1, 65536)}), cudaErrorInvalidConfiguration);
}

TEST(Launches, SharedMemoryBeyondTheDefaultMustBeAskedFor) {
  EXPECT_EQ(ErrorOf(LaunchShared, {.grid = 1, .shared_bytes = 48 << 10}), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchShared, {.grid = 1, .shared_bytes = (48 << 10) + 1}), cudaErrorInvalidValue);
  constexpr auto kAttribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  EXPECT_EQ(cudaFuncSetAttribute(SharedKernel(), kAttribute, (227 << 10) + 1), cudaErrorInvalidValue);
  cudaGetLastError();
  ASSERT_EQ(cudaFuncSetAttribute(SharedKernel(), kAttribute, 227 << 10), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchShared, {.grid = 1, .shared_bytes = 227 << 10}), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchShared, {.grid = 1, .shared_bytes = (227 << 10) + 1}), cudaErrorInvalidValue);
}

TEST(Launches, StaticSharedMemoryCounts) {
  EXPECT_EQ(ErrorOf(LaunchStatic, {.grid = 1, .shared_bytes = 8 << 10}), cudaSuccess);
  EXPECT_EQ(ErrorOf(LaunchStatic, {.grid = 1, .shared_bytes = (8 << 10) + 1}), cudaErrorInvalidValue);
  constexpr auto kAttribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  EXPECT_EQ(cudaFuncSetAttribute(StaticKernel(), kAttribute, (187 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(StaticKernel(), kAttribute, 187 << 10), cudaSuccess);
  cudaGetLastError();
}

TEST(Launches, AttributesAndOccupancyFollowTheKernel) {
  cudaFuncAttributes attributes;
  ASSERT_EQ(cudaFuncGetAttributes(&attributes, StaticKernel()), cudaSuccess);
  EXPECT_EQ(attributes.sharedSizeBytes, 40960u);
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  EXPECT_EQ(attributes.binaryVersion, 90);
  int blocks = 0;
  ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, StaticKernel(), 128, 0), cudaSuccess);
  EXPECT_EQ(blocks, 5);  // 228 KiB / (40 + 1)
  ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, SharedKernel(), 1024, 0), cudaSuccess);
  EXPECT_EQ(blocks, 2);
}

TEST(Launches, WhatIsNoKernelIsRefused) {
  const int not_a_kernel = 0;
  cudaFuncAttributes attributes;
  EXPECT_EQ(cudaFuncGetAttributes(&attributes, &not_a_kernel), cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDeviceFunction);
}

TEST(Errors, LastErrorIsReportedOnceAndPeekingKeepsIt) {
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  int count = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);  // a success doesn't clear it
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Errors, HaveCudasNamesAndWords) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInvalidValue), "cudaErrorInvalidValue");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)), "unrecognized error code");
}

TEST(Device, IsOneHopper) {
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 1);
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "CUDA emulator");
  EXPECT_EQ(properties.major * 10 + properties.minor, 90);
  EXPECT_EQ(properties.multiProcessorCount, 132);
  int version = 0;
  ASSERT_EQ(cudaRuntimeGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version / 1000, CUDART_VERSION / 1000);
}

}  // namespace
}  // namespace cuda_emulator
