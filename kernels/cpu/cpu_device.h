// Main memory as a device. Large buffers are mapped on 2 MiB boundaries and ask for huge pages. Engine thread only.
#pragma once

#include <cstddef>

#include "kernels/device.h"

namespace latentd::cpu {

class CpuDevice final : public Device {
 public:
  CpuDevice();
  explicit CpuDevice(size_t available_bytes);  // as if the machine had no more, for tests

  std::string Describe() const override;
  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override;
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  size_t AvailableBytes() const override;
  int PadRows(int num_rows) const override { return num_rows; }
  void Run(const StepShape&, const std::function<void()>& body) override { body(); }
  void Synchronize() override {}

 private:
  void Free(void* address, size_t bytes) override;

  // Memory that was allocated but not yet touched still looks available to the kernel, so we count ourselves too.
  const size_t available_at_start_;
  size_t allocated_ = 0;
};

}  // namespace latentd::cpu
