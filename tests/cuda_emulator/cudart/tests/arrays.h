// Streams, device arrays and pinned arrays for the tests of the fake runtime.
#pragma once

#include <vector>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {

inline constexpr int kCount = 50;  // two blocks, the second ragged
inline constexpr size_t kBytes = kCount * sizeof(float);

class Stream {
 public:
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, flags), cudaSuccess);
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }
  void Synchronize() const { EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { EXPECT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// kCount floats of the device.
class DeviceArray {
 public:
  DeviceArray() { EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&values_), kBytes), cudaSuccess); }
  ~DeviceArray() { cudaFree(values_); }
  DeviceArray(const DeviceArray&) = delete;
  operator float*() const { return values_; }
  // After everything in the stream.
  std::vector<float> Get(cudaStream_t stream) const {
    std::vector<float> values(kCount);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), values_, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return values;
  }

 private:
  float* values_ = nullptr;
};

class PinnedArray {
 public:
  explicit PinnedArray(float value) {
    EXPECT_EQ(cudaMallocHost(reinterpret_cast<void**>(&values_), kBytes), cudaSuccess);
    Fill(value);
  }
  ~PinnedArray() { cudaFreeHost(values_); }
  PinnedArray(const PinnedArray&) = delete;
  operator float*() const { return values_; }
  void Fill(float value) { std::fill_n(values_, kCount, value); }
  std::vector<float> Get() const { return {values_, values_ + kCount}; }

 private:
  float* values_ = nullptr;
};

inline std::vector<float> All(float value) { return std::vector<float>(kCount, value); }

// In the order of issue, the latest first, and random ones.
inline std::vector<Schedule> SomeSchedules() {
  std::vector<Schedule> schedules = {{.kind = ScheduleKind::kInOrder}, {.kind = ScheduleKind::kReverse}};
  for (uint64_t seed = 1; seed <= 20; ++seed) schedules.push_back({.kind = ScheduleKind::kRandomWarp, .seed = seed});
  return schedules;
}

}  // namespace cuda_emulator
