// A Hopper GPU as a device: memory, one stream that everything is launched on, and recorded steps. Engine thread only.
#pragma once

#include <map>
#include <memory>

#include <absl/status/statusor.h>
#include <cuda_runtime_api.h>

#include "kernels/device.h"

namespace latentd::cuda {

class CudaDevice final : public Device {
 public:
  // UNAVAILABLE without driver or GPU of this index, FAILED_PRECONDITION where the GPU is not a Hopper.
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(int index);
  ~CudaDevice() override;

  std::string Describe() const override;
  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override;
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  size_t AvailableBytes() const override;
  // 1, 2, 4, then multiples of 8.
  int PadRows(int num_rows) const override;
  // Records the first step of each shape as a graph and replays it from then on.
  void Run(const StepShape& shape, const std::function<void()>& body) override;
  void Synchronize() override;

  cudaStream_t stream() const { return stream_; }
  int num_recordings() const { return static_cast<int>(recordings_.size()); }

 private:
  CudaDevice(int index, cudaStream_t stream) : index_(index), stream_(stream) {}
  cudaGraphExec_t Record(const std::function<void()>& body);
  void Free(void* address, size_t bytes) override;

  const int index_;
  cudaStream_t stream_;
  std::map<StepShape, cudaGraphExec_t> recordings_;
};

// Memory of the host that the device copies from and to while the host goes on.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static absl::StatusOr<PinnedBuffer> Allocate(size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(address_, other.address_);
    return *this;
  }
  ~PinnedBuffer();

  template <class T>
  T* As() const {
    return static_cast<T*>(address_);
  }

 private:
  void* address_ = nullptr;
};

// Stops the process with CUDA's reason: after a failed call the context is of no more use.
void CheckCuda(cudaError_t error, const char* call);

}  // namespace latentd::cuda
