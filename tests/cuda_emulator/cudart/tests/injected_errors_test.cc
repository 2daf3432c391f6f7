// Runs with CUDA_EMULATOR_FAIL=cudaMalloc:3,cudaMemsetAsync:1:1,kernel:2 (CMakeLists.txt).
#include "tests/cuda_emulator/cudart/tests/arrays.h"
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

TEST(InjectedErrors, ThirdAllocationFailsAndTheFourthDoesNot) {
  void* addresses[4] = {};
  EXPECT_EQ(cudaMalloc(&addresses[0], 64), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&addresses[1], 64), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&addresses[2], 64), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&addresses[3], 64), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  Stream stream;
  EXPECT_EQ(cudaMemsetAsync(addresses[0], 0, 64, stream), cudaErrorInvalidValue);  // the error that was named
  EXPECT_EQ(cudaMemsetAsync(addresses[0], 0, 64, stream), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

// The last test of the program: nothing works after it.
TEST(InjectedErrors, ZFaultingKernelBreaksTheContext) {
  Stream stream;
  DeviceArray values;
  LaunchFill(stream, values, kCount, 1);
  stream.Synchronize();
  LaunchFill(stream, values, kCount, 2);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // it hasn't run yet
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  void* address = nullptr;
  EXPECT_EQ(cudaMalloc(&address, 64), cudaErrorIllegalAddress);
}

}  // namespace
}  // namespace cuda_emulator
