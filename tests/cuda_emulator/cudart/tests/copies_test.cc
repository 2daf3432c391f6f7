#include <cstring>

#include "tests/cuda_emulator/cudart/tests/arrays.h"
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

const auto kFails = testing::ExitedWithCode(99);

TEST(Copies, PinnedSourceIsReadWhenTheCopyRuns) {
  Stream stream;
  DeviceArray values;
  PinnedArray source(1);
  ASSERT_EQ(cudaMemcpyAsync(values, source, kBytes, cudaMemcpyHostToDevice, stream), cudaSuccess);
  source.Fill(2);
  EXPECT_EQ(values.Get(stream), All(2));
}

TEST(Copies, PageableSourceIsReadAtTheCall) {
  Stream stream;
  DeviceArray values;
  std::vector<float> source = All(1);
  ASSERT_EQ(cudaMemcpyAsync(values, source.data(), kBytes, cudaMemcpyHostToDevice, stream), cudaSuccess);
  source = All(2);
  EXPECT_EQ(values.Get(stream), All(1));
}

TEST(Copies, HostThatReadsTooEarlySeesOldBytes) {
  Stream stream;
  DeviceArray values;
  std::vector<float> pageable = All(5);
  LaunchFill(stream, values, kCount, 1);
  ASSERT_EQ(cudaMemcpyAsync(pageable.data(), values, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(pageable, All(5));
  stream.Synchronize();
  EXPECT_EQ(pageable, All(1));
}

TEST(Copies, FreshMemoryIsPoison) {
  Stream stream;
  DeviceArray values;
  for (const float value : values.Get(stream)) EXPECT_NE(value, value);
}

TEST(Copies, BetweenDeviceArraysAndByDefaultKind) {
  Stream stream;
  DeviceArray from, to;
  LaunchFill(stream, from, kCount, 4);
  ASSERT_EQ(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  EXPECT_EQ(to.Get(stream), All(4));
  std::vector<float> host(kCount);
  ASSERT_EQ(cudaMemcpyAsync(host.data(), to, kBytes, cudaMemcpyDefault, stream), cudaSuccess);
  stream.Synchronize();
  EXPECT_EQ(host, All(4));
}

TEST(Copies, WrongDirectionIsAnError) {
  Stream stream;
  DeviceArray values;
  std::vector<float> host(kCount);
  EXPECT_EQ(cudaMemcpyAsync(values, values, kBytes, cudaMemcpyHostToDevice, stream), cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpyAsync(host.data(), host.data(), kBytes, cudaMemcpyDeviceToHost, stream),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidMemcpyDirection);
}

TEST(Copies, PastTheEndIsFound) {
  Stream stream;
  DeviceArray values;
  PinnedArray host(0);
  EXPECT_EXIT(cudaMemcpyAsync(values, host, kBytes + 4, cudaMemcpyHostToDevice, stream), kFails,
              "cuda emulator: out-of-bounds: .*cudaMemcpyAsync: the destination of 204 bytes");
  EXPECT_EXIT(cudaMemcpyAsync(values + 1, host + 1, kBytes - 4 + 1, cudaMemcpyHostToDevice, stream), kFails,
              "out-of-bounds");
  EXPECT_EXIT(cudaMemcpyAsync(host + 1, values, kBytes, cudaMemcpyDeviceToHost, stream), kFails, "pinned memory");
  EXPECT_EXIT(cudaMemsetAsync(values + 1, 0, kBytes, stream), kFails, "cudaMemsetAsync: the range");
}

TEST(Copies, UseAfterFreeIsFound) {
  Stream stream;
  float* values = nullptr;
  PinnedArray host(0);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&values), kBytes), cudaSuccess);
  ASSERT_EQ(cudaFree(values), cudaSuccess);
  EXPECT_EXIT(cudaMemcpyAsync(values, host, kBytes, cudaMemcpyHostToDevice, stream), kFails,
              "cuda emulator: freed: ");
  EXPECT_EXIT(cudaMemsetAsync(values, 0, kBytes, stream), kFails, "freed");
}

TEST(Copies, KernelThatUsesFreedMemoryIsFound) {
  Stream stream;
  float* values = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&values), kBytes), cudaSuccess);
  ASSERT_EQ(cudaFree(values), cudaSuccess);
  EXPECT_EXIT(
      {
        LaunchFill(stream, values, kCount, 1);
        cudaStreamSynchronize(stream);
      },
      kFails, "cuda emulator: (fault|freed): ");
}

TEST(Copies, SynchronousCopyWaitsForBlockingStreamsOnly) {
  Stream blocking(cudaStreamDefault), apart;
  DeviceArray ordered, unordered;
  LaunchFill(blocking, ordered, kCount, 1);
  ASSERT_EQ(cudaMemset(unordered, 0, kBytes), cudaSuccess);
  std::vector<float> host(kCount);
  ASSERT_EQ(cudaMemcpy(host.data(), ordered, kBytes, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(host, All(1));
  SetSchedule({.kind = ScheduleKind::kReverse});
  LaunchFill(apart, unordered, kCount, 1);
  ASSERT_EQ(cudaMemcpy(host.data(), unordered, kBytes, cudaMemcpyDeviceToHost), cudaSuccess);
  SetSchedule({});
  EXPECT_EQ(host, All(0));
}

TEST(Copies, ModuleVariableIsMemoryOfTheDevice) {
  Stream stream;
  DeviceArray in, out;
  const float table[4] = {1, 2, 3, 4};
  LaunchFill(stream, in, kCount, 10);
  ASSERT_EQ(cudaMemcpyToSymbolAsync(TableSymbol(), table, sizeof(table), 0, cudaMemcpyHostToDevice, stream),
            cudaSuccess);
  LaunchAddTable(stream, out, in, kCount);
  const std::vector<float> values = out.Get(stream);
  for (int i = 0; i < kCount; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], 10.5f + table[i % 4]);
  EXPECT_EQ(cudaMemcpyToSymbolAsync(TableSymbol(), table, sizeof(table), 4, cudaMemcpyHostToDevice, stream),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyToSymbolAsync(table, table, sizeof(table), 0, cudaMemcpyHostToDevice, stream),
            cudaErrorInvalidSymbol);
  cudaGetLastError();
}

TEST(Memory, MoreThanThereIsIsRefused) {
  size_t free_bytes = 0, total_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_LE(free_bytes, total_bytes);
  void* address = nullptr;
  EXPECT_EQ(cudaMalloc(&address, free_bytes + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(address, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Memory, OnlyLiveAllocationsAreFreed) {
  DeviceArray values;
  PinnedArray host(0);
  int on_stack = 0;
  EXPECT_EQ(cudaFree(values + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(&on_stack), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(values), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(nullptr), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST(Memory, PointersTellWhatTheyPointAt) {
  DeviceArray values;
  PinnedArray host(0);
  int on_stack = 0;
  cudaPointerAttributes attributes;
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, values + 3), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, host + 3), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &on_stack), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
}

}  // namespace
}  // namespace cuda_emulator
